"""The whole fleet in numbers, quickly also when it is large."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import asyncpg

from database_service.deps import Deps

SERVERS = """
SELECT server_type, CASE WHEN status = 'active' AND cordoned THEN 'maintenance' ELSE status END AS status, health_status,
       count(*) AS servers, sum(max_instances)::bigint AS slots
FROM servers WHERE status <> 'gone' GROUP BY 1, 2, 3"""

# What is in use is what is there less what is free: few slots are free in a large fleet, and those have an index of their own.
FREE = "SELECT count(*) FROM slots WHERE database_id IS NULL"

# Each of these is a short stretch of the index on status. `ready` would be nearly all of it, and follows from the rest.
DATABASES = """
SELECT status, count(*) AS databases FROM databases
WHERE status IN ('waiting', 'creating', 'spare', 'releasing', 'released') GROUP BY status"""


@dataclass(frozen=True, slots=True)
class ServerGroup:
    """Servers of one kind, state (`maintenance` is active and cordoned) and health, and the slots they have together."""

    server_type: str
    status: str
    health_status: str
    servers: int
    slots: int


@dataclass(frozen=True, slots=True)
class Stats:
    """One moment of the fleet. `databases` counts by status what is not purged."""

    groups: tuple[ServerGroup, ...]
    free: int
    databases: Mapping[str, int]

    @property
    def servers(self) -> int:
        return sum(group.servers for group in self.groups)

    @property
    def active(self) -> int:
        return sum(group.servers for group in self.groups if group.status == "active")

    @property
    def capacity(self) -> int:
        return sum(group.slots for group in self.groups)

    @property
    def used(self) -> int:
        return self.capacity - self.free

    @property
    def by_status(self) -> Mapping[str, int]:
        return _count((group.status, group.servers) for group in self.groups)

    @property
    def by_type(self) -> Mapping[str, int]:
        return _count((group.server_type, group.servers) for group in self.groups)

    @property
    def by_health(self) -> Mapping[str, int]:
        return _count((group.health_status, group.servers) for group in self.groups)


async def stats(deps: Deps) -> Stats:
    async with deps.db.reading() as conn:
        groups = tuple(ServerGroup(**dict(row)) for row in await conn.fetch(SERVERS))
        free = await conn.fetchval(FREE)
        databases = await conn.fetch(DATABASES)
    return Stats(groups, free, _with_ready(databases, sum(group.slots for group in groups) - free))


def _with_ready(rows: Iterable[asyncpg.Record], used: int) -> Mapping[str, int]:
    """Every database that is neither waiting nor purged holds one slot: what holds a slot and is nothing else is ready."""
    counted = {row["status"]: row["databases"] for row in rows}
    seated = sum(count for status, count in counted.items() if status != "waiting")
    return {**counted, "ready": used - seated}


def _count(pairs: Iterable[tuple[str, int]]) -> Mapping[str, int]:
    counted: Counter[str] = Counter()
    for name, count in pairs:
        counted[name] += count
    return dict(counted)
