"""Instances as callers may see them. There is no secret to be left out."""

from dataclasses import dataclass

from instance_service.deps import Deps
from instance_service.domain.errors import InstanceNotFound
from instance_service.domain.ids import InstanceId
from instance_service.domain.instances import Instance, Status
from instance_service.store.rows import INSTANCE, instance_of

NEWEST = 2**63 - 1

ONE = f"SELECT {INSTANCE} FROM instances i WHERE i.id = $1"


async def one(deps: Deps, instance_id: InstanceId) -> Instance:
    """Deleted ones as well. InstanceNotFound where there never was one."""
    async with deps.db.reading() as conn:
        row = await conn.fetchrow(ONE, instance_id)
    if row is None:
        raise InstanceNotFound(instance_id)
    return instance_of(row)


@dataclass(frozen=True, slots=True)
class Page:
    instances: tuple[Instance, ...]
    total: int
    next_before: int | None
    """The number to go on from; None at the end."""


PAGE = f"""
SELECT {INSTANCE} FROM instances i
WHERE i.seq < $1 AND ($2::text IS NULL OR i.customer_id = $2)
  AND CASE WHEN $3::text IS NULL THEN i.status <> 'deleted' ELSE i.status = $3 END
ORDER BY i.seq DESC LIMIT $4"""

TOTAL = """
SELECT count(*) FROM instances
WHERE ($1::text IS NULL OR customer_id = $1) AND CASE WHEN $2::text IS NULL THEN status <> 'deleted' ELSE status = $2 END"""


async def page(
    deps: Deps, *, customer_id: str | None = None, status: Status | None = None, before: int = NEWEST, limit: int = 50
) -> Page:
    """The newest first; deleted ones only where that status is asked for."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(PAGE, before, customer_id, status, limit + 1)
        total = await conn.fetchval(TOTAL, customer_id, status)
    found = tuple(instance_of(row) for row in rows[:limit])
    return Page(found, total, found[-1].seq if len(rows) > limit else None)


BY_STATUS = "SELECT status, count(*) AS count FROM instances WHERE status <> 'deleted' GROUP BY status"


async def count_by_status(deps: Deps) -> dict[str, int]:
    async with deps.db.reading() as conn:
        return {row["status"]: row["count"] for row in await conn.fetch(BY_STATUS)}
