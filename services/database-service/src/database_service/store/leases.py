"""Leases: who works on a row now. The lease keeps others away; the version makes a late writer's result harmless."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from database_service.store.pool import Conn

Table = Literal["servers", "databases", "operations", "drift"]

RELEASE: dict[Table, str] = {
    "servers": "UPDATE servers SET lease_until = NULL, lease_token = NULL WHERE id = $1 AND lease_token = $2",
    "databases": "UPDATE databases SET lease_until = NULL, lease_token = NULL WHERE id = $1 AND lease_token = $2",
    "drift": "UPDATE drift SET lease_until = NULL, lease_token = NULL WHERE id = $1 AND lease_token = $2",
    "operations": "UPDATE operations SET lease_until = NULL, lease_token = NULL WHERE id = $1 AND lease_token = $2",
}

DUE: dict[Table, str] = {
    "servers": """
SELECT id FROM servers WHERE due_at <= $1 AND (lease_until IS NULL OR lease_until <= $1) ORDER BY due_at LIMIT $2""",
    "databases": """
SELECT id FROM databases
WHERE due_at <= $1 AND status <> 'waiting' AND (lease_until IS NULL OR lease_until <= $1) ORDER BY due_at LIMIT $2""",
    "drift": """
SELECT id FROM drift WHERE due_at <= $1 AND (lease_until IS NULL OR lease_until <= $1) ORDER BY due_at LIMIT $2""",
    "operations": """
SELECT id FROM operations WHERE due_at <= $1 AND (lease_until IS NULL OR lease_until <= $1) ORDER BY due_at LIMIT $2""",
}


async def release(conn: Conn, table: Table, row_id: UUID, token: UUID) -> None:
    """Give the row back at once when the fence refused our result, so that the next step need not wait for the lease to end."""
    await conn.execute(RELEASE[table], row_id, token)


async def due(conn: Conn, table: Table, now: datetime, limit: int) -> list[UUID]:
    """Rows to look at now, the longest due first; databases without a seat are capacity's to look at.

    Each step claims its own row, so a doubled hand-out is harmless.
    """
    return [row["id"] for row in await conn.fetch(DUE[table], now, limit)]
