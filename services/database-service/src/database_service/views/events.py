"""The audit trail, newest first."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from database_service.deps import Deps

NEWEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class EventView:
    """One change: who did what to which, when, why, from what to what, in which request."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    subject_id: UUID
    instance_id: str | None
    before: str | None
    after: str | None
    why: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class EventPage:
    events: tuple[EventView, ...]
    next_before: int | None
    """The id to go on from; None at the end."""


PAGE = """
SELECT id, at, actor, action, subject, subject_id, instance_id, before, after, why, request_id FROM events
WHERE id < $1 AND ($2::text IS NULL OR instance_id = $2) AND ($3::uuid IS NULL OR subject_id = $3)
ORDER BY id DESC LIMIT $4"""


async def page(
    deps: Deps, *, instance_id: str | None = None, subject_id: UUID | None = None, before: int = NEWEST, limit: int = 50
) -> EventPage:
    """Events with ids under `before`, of one instance or one subject where that is asked for."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(PAGE, before, instance_id, subject_id, limit + 1)
    events = tuple(EventView(**dict(row)) for row in rows[:limit])
    return EventPage(events, events[-1].id if len(rows) > limit else None)
