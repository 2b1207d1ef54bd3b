"""The audit trail: appended in the same transaction as the change it tells of, never changed."""

from datetime import datetime

from instance_service.domain.ids import InstanceId, Who
from instance_service.store.pool import Conn

APPEND = """
INSERT INTO events (at, actor, action, instance_id, before, after, why, request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"""


async def append(
    conn: Conn,
    *,
    at: datetime,
    who: Who,
    action: str,
    instance_id: InstanceId,
    before: str | None = None,
    after: str | None = None,
    why: str | None = None,
) -> None:
    """One thing that happened: `action` is `instance.past_tense`, before and after are states."""
    await conn.execute(APPEND, at, who.actor, action, instance_id, before, after, why or None, who.request_id)
