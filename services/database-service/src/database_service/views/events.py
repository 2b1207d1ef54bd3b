"""The audit trail, newest first."""

from dataclasses import dataclass
from uuid import UUID

from database_service.deps import Deps
from database_service.domain.chain import Event
from database_service.store.pool import PLANNED_ANEW
from database_service.store.rows import EVENT, event_of

NEWEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class EventPage:
    events: tuple[Event, ...]
    next_before: int | None
    """The id to go on from; None at the end."""


PAGE = f"""
SELECT {EVENT} FROM events e
WHERE id < $1 AND ($2::text IS NULL OR instance_id = $2) AND ($3::uuid IS NULL OR subject_id = $3)
ORDER BY id DESC LIMIT $4"""


async def page(
    deps: Deps, *, instance_id: str | None = None, subject_id: UUID | None = None, before: int = NEWEST, limit: int = 50
) -> EventPage:
    """Events with ids under `before`, of one instance or one subject where that is asked for."""
    async with deps.db.reading() as conn:
        await conn.execute(PLANNED_ANEW)
        rows = await conn.fetch(PAGE, before, instance_id, subject_id, limit + 1)
    events = tuple(event_of(row) for row in rows[:limit])
    return EventPage(events, events[-1].id if len(rows) > limit else None)
