"""The audit trail of an instance, newest first."""

from dataclasses import dataclass
from datetime import datetime

from instance_service.deps import Deps
from instance_service.domain.ids import InstanceId

NEWEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class EventView:
    """One change: who did what, when, why, from what to what, in which request."""

    id: int
    at: datetime
    actor: str
    action: str
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
SELECT id, at, actor, action, before, after, why, request_id FROM events
WHERE instance_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"""


async def page(deps: Deps, instance_id: InstanceId, before: int = NEWEST, limit: int = 50) -> EventPage:
    async with deps.db.reading() as conn:
        rows = await conn.fetch(PAGE, instance_id, before, limit + 1)
    events = tuple(EventView(**dict(row)) for row in rows[:limit])
    return EventPage(events, events[-1].id if len(rows) > limit else None)
