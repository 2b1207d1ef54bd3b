"""Search: tenant databases by how their instance's id, their customer's or their own name begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from database_service.deps import Deps
from database_service.domain.ids import InstanceId, ServerId
from database_service.domain.usage import Level


class By(StrEnum):
    """What of a database begins with what is looked for."""

    INSTANCE = "instance"
    CUSTOMER = "customer"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Found:
    """One tenant database in a list. Its size is in bytes, and None until it was first measured."""

    instance_id: InstanceId
    customer_id: str
    name: str
    status: str
    status_since: datetime
    plan_tier: str
    server_id: ServerId | None
    server_name: str | None
    size_bytes: int | None
    level: str | None


_SELECT = """
SELECT d.instance_id, d.customer_id, d.name, d.status, d.status_since, d.plan_tier, d.server_id, s.name AS server_name,
       u.size_bytes, u.level
FROM databases d LEFT JOIN servers s ON s.id = d.server_id LEFT JOIN usage u ON u.database_id = d.id"""
_OURS = "d.instance_id IS NOT NULL AND d.status <> 'purged'"

# $1: how it begins; $2: what no longer begins so; $3: the instance that the page before ended with, or ''.
BY_INSTANCE = f"""{_SELECT}
WHERE {_OURS} AND d.instance_id COLLATE "C" >= $1 AND d.instance_id COLLATE "C" > $3 AND d.instance_id COLLATE "C" < $2
ORDER BY d.instance_id COLLATE "C" LIMIT $4"""
BY_CUSTOMER = f"""{_SELECT}
WHERE {_OURS} AND d.customer_id COLLATE "C" >= $1 AND d.customer_id COLLATE "C" < $2
  AND (d.customer_id COLLATE "C", d.instance_id COLLATE "C")
      > (coalesce((SELECT customer_id FROM databases WHERE instance_id = $3), $1), $3)
ORDER BY d.customer_id COLLATE "C", d.instance_id COLLATE "C" LIMIT $4"""
BY_NAME = f"""{_SELECT}
WHERE {_OURS} AND d.name COLLATE "C" >= $1 AND d.name COLLATE "C" < $2
  AND (d.name COLLATE "C", d.instance_id COLLATE "C")
      > (coalesce((SELECT name FROM databases WHERE instance_id = $3), $1), $3)
ORDER BY d.name COLLATE "C", d.instance_id COLLATE "C" LIMIT $4"""
_QUERIES: Mapping[By, str] = {By.INSTANCE: BY_INSTANCE, By.CUSTOMER: BY_CUSTOMER, By.NAME: BY_NAME}

_BEYOND = "\x7f"
"""Behind every character that an id or a name may have."""

NEWEST = f"""{_SELECT}
WHERE {_OURS} AND d.claimed_at IS NOT NULL ORDER BY d.claimed_at DESC LIMIT $1"""
IN_STATE = f"""{_SELECT}
WHERE {_OURS} AND d.status = $1 ORDER BY d.status_since LIMIT $2"""
AT_LEVEL = f"""{_SELECT}
WHERE {_OURS} AND u.level = $1 ORDER BY u.level_since LIMIT $2"""


@dataclass(frozen=True, slots=True)
class FoundPage:
    """In the order of what was looked for. `next_after` is the instance to go on from, None at the end."""

    databases: tuple[Found, ...]
    next_after: InstanceId | None


async def search(deps: Deps, by: By, text: str, *, after: str = "", limit: int = 50) -> FoundPage:
    """Of `limit` databases at most; data that is deleted is not among them."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(_QUERIES[by], text, text + _BEYOND, after, limit + 1)
    found = tuple(Found(**dict(row)) for row in rows[:limit])
    return FoundPage(found, found[-1].instance_id if len(rows) > limit else None)


async def newest(deps: Deps, limit: int = 50) -> Sequence[Found]:
    """Those handed out last."""
    async with deps.db.reading() as conn:
        return [Found(**dict(row)) for row in await conn.fetch(NEWEST, limit)]


async def in_state(deps: Deps, status: str, limit: int = 100) -> Sequence[Found]:
    """Those that have been so for longest."""
    async with deps.db.reading() as conn:
        return [Found(**dict(row)) for row in await conn.fetch(IN_STATE, status, limit)]


async def at_level(deps: Deps, level: Level, limit: int = 100) -> Sequence[Found]:
    """Those whose storage has been at that level for longest."""
    async with deps.db.reading() as conn:
        return [Found(**dict(row)) for row in await conn.fetch(AT_LEVEL, level, limit)]
