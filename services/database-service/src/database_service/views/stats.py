"""The whole fleet in numbers, quickly also when it is large."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from database_service.deps import Deps

# Few slots are free in a large fleet, and those have an index of their own: what is in use is what is there less what is free.
SERVERS = """
SELECT s.server_type, s.health_status,
       CASE WHEN s.status <> 'active' THEN s.status WHEN s.cordoned THEN 'maintenance' WHEN f.free IS NULL THEN 'full'
            ELSE 'active' END AS status,
       count(*) AS servers, sum(s.max_instances)::bigint AS slots, coalesce(sum(f.free), 0)::bigint AS free
FROM servers s
LEFT JOIN (SELECT server_id, count(*) AS free FROM slots WHERE database_id IS NULL GROUP BY server_id) f ON f.server_id = s.id
WHERE s.status <> 'gone' GROUP BY 1, 2, 3"""

# Each of these is a short stretch of an index. `ready` would be nearly all of it, and follows from the rest. Tombstones are
# many and hold nothing; what is purged and still on its server holds its slot.
DATABASES = """
SELECT status, count(*) AS databases FROM databases
WHERE status IN ('waiting', 'creating', 'spare', 'moving', 'landing', 'releasing', 'released') GROUP BY status
UNION ALL
SELECT status, count(*) FROM databases d
WHERE status = 'purged' AND server_id IS NOT NULL AND (SELECT status FROM servers s WHERE s.id = d.server_id) <> 'deprovisioning'
GROUP BY status"""


SPARES = """
SELECT template, count(*) AS spares FROM databases WHERE status = 'spare' GROUP BY template"""


@dataclass(frozen=True, slots=True)
class ServerGroup:
    """Servers of one kind, state (in the words of lists) and health, and the slots they have together."""

    server_type: str
    status: str
    health_status: str
    servers: int
    slots: int
    free: int

    @property
    def stays(self) -> bool:
        """Of a server that goes nobody gets a slot any more, so its slots count for nothing."""
        return self.status != "deprovisioning"


@dataclass(frozen=True, slots=True)
class Stats:
    """One moment of the fleet. `unready` counts by status the databases that are not ready."""

    groups: tuple[ServerGroup, ...]
    unready: Mapping[str, int]

    @property
    def servers(self) -> int:
        return sum(group.servers for group in self.groups)

    @property
    def active(self) -> int:
        """How many are in service and have room."""
        return sum(group.servers for group in self.groups if group.status == "active")

    @property
    def capacity(self) -> int:
        return sum(group.slots for group in self.groups if group.stays)

    @property
    def free(self) -> int:
        return sum(group.free for group in self.groups if group.stays)

    @property
    def used(self) -> int:
        return self.capacity - self.free

    @property
    def databases(self) -> Mapping[str, int]:
        """By status. A used slot holds one, and who waits has none: what holds a slot and is nothing else is ready.

        The `purged` among them are those still to be dropped.
        """
        seated = sum(count for status, count in self.unready.items() if status != "waiting")
        return {**self.unready, "ready": self.used - seated}

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
        groups = await conn.fetch(SERVERS)
        unready = await conn.fetch(DATABASES)
    return Stats(
        tuple(ServerGroup(**dict(row)) for row in groups), {row["status"]: row["databases"] for row in unready}
    )


async def spares(deps: Deps) -> Mapping[str, int]:
    """How many ready databases of each template nobody has yet."""
    async with deps.db.reading() as conn:
        return {row["template"]: row["spares"] for row in await conn.fetch(SPARES)}


def _count(pairs: Iterable[tuple[str, int]]) -> Mapping[str, int]:
    counted: Counter[str] = Counter()
    for name, count in pairs:
        counted[name] += count
    return dict(counted)
