"""The audit trail: appended in the same transaction as the change it tells of, never changed."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from database_service.domain.ids import Who
from database_service.store.pool import Conn

Subject = Literal["server", "database", "token", "operation", "drift", "authority"]

APPEND = """
INSERT INTO events (at, actor, action, subject, subject_id, instance_id, before, after, why, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"""


async def append(
    conn: Conn,
    *,
    at: datetime,
    who: Who,
    action: str,
    subject: Subject,
    subject_id: UUID,
    instance_id: str | None = None,
    before: str | None = None,
    after: str | None = None,
    why: str | None = None,
) -> None:
    """One thing that happened: `action` is `subject.past_tense`, before and after are states."""
    await conn.execute(
        APPEND, at, who.actor, action, subject, subject_id, instance_id, before, after, why, who.request_id
    )
