"""Rows of `operations` and `operation_steps`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from database_service.domain.ids import OperationId
from database_service.domain.operations import Kind, Operation, Step, Target, Wish
from database_service.store.pool import Conn
from database_service.store.rows import OPERATION, STEP, operation_of, step_of

INSERT = f"""
INSERT INTO operations AS o (id, kind, state, state_since, target, created_by, request_key, due_at, created_at)
VALUES ($1, $2, 'pending', $3, $4, $5, $6, $3, $3)
ON CONFLICT (request_key) DO NOTHING
RETURNING {OPERATION}"""


async def insert(
    conn: Conn,
    *,
    operation_id: OperationId,
    kind: Kind,
    target: Target,
    created_by: str,
    request_key: str | None,
    now: datetime,
) -> Operation | None:
    """A new operation, due now. None where one was asked for with this `request_key` before."""
    row = await conn.fetchrow(INSERT, operation_id, kind, now, _told(target), created_by, request_key)
    return operation_of(row) if row else None


# In the order of their subjects, so that two who want the same ones wait for each other and never in a circle.
INSERT_STEPS = """
INSERT INTO operation_steps (operation_id, ordinal, name, subject_id, held, state, state_since)
SELECT $1, t.ordinal, t.name, t.subject_id, true, 'pending', $4
FROM unnest($2::uuid[], $3::text[]) WITH ORDINALITY AS t (subject_id, name, ordinal) ORDER BY t.subject_id
ON CONFLICT (subject_id) WHERE held DO NOTHING
RETURNING subject_id"""


async def insert_steps(
    conn: Conn, operation_id: OperationId, subjects: Mapping[UUID, str], now: datetime
) -> Sequence[UUID]:
    """A step for each subject, by id and name, in this order. Returns the subjects that another operation has for itself."""
    rows = await conn.fetch(INSERT_STEPS, operation_id, list(subjects), list(subjects.values()), now)
    had = {row["subject_id"] for row in rows}
    return [subject for subject in subjects if subject not in had]


HOLDER = "SELECT operation_id FROM operation_steps WHERE subject_id = $1 AND held"


async def holder(conn: Conn, subject_id: UUID) -> OperationId | None:
    """The operation that has this subject for itself."""
    found: OperationId | None = await conn.fetchval(HOLDER, subject_id)
    return found


GET = f"SELECT {OPERATION} FROM operations o WHERE o.id = $1"


async def get(conn: Conn, operation_id: OperationId) -> Operation | None:
    row = await conn.fetchrow(GET, operation_id)
    return operation_of(row) if row else None


BY_REQUEST_KEY = f"SELECT {OPERATION} FROM operations o WHERE o.request_key = $1"


async def by_request_key(conn: Conn, key: str) -> Operation | None:
    row = await conn.fetchrow(BY_REQUEST_KEY, key)
    return operation_of(row) if row else None


@dataclass(frozen=True, slots=True)
class Keyed:
    """An operation and what it was asked for with."""

    operation: Operation
    key: str


LAST_OF_KEYS = f"""
SELECT {OPERATION}, o.request_key FROM operations o WHERE o.request_key = ANY ($1::text[]) ORDER BY o.seq DESC LIMIT 1"""


async def last_of_keys(conn: Conn, keys: Sequence[str]) -> Keyed | None:
    """The newest that was asked for with one of these."""
    row = await conn.fetchrow(LAST_OF_KEYS, list(keys))
    return Keyed(operation_of(row), row["request_key"]) if row else None


LOCK = f"SELECT {OPERATION} FROM operations o WHERE o.id = $1 FOR NO KEY UPDATE"


async def lock(conn: Conn, operation_id: OperationId) -> Operation | None:
    row = await conn.fetchrow(LOCK, operation_id)
    return operation_of(row) if row else None


STEPS = f"SELECT {STEP} FROM operation_steps p WHERE p.operation_id = $1 ORDER BY p.ordinal"


async def steps(conn: Conn, operation_id: OperationId) -> list[Step]:
    return [step_of(row) for row in await conn.fetch(STEPS, operation_id)]


CLAIM = f"""
UPDATE operations o SET lease_until = $3, lease_token = $4, version = o.version + 1
WHERE o.id = $1 AND o.due_at <= $2 AND (o.lease_until IS NULL OR o.lease_until <= $2)
RETURNING {OPERATION}"""


async def claim(
    conn: Conn, operation_id: OperationId, now: datetime, lease: timedelta, token: UUID
) -> Operation | None:
    """Take the row for one step. None: not due, or somebody has it."""
    row = await conn.fetchrow(CLAIM, operation_id, now, now + lease, token)
    return operation_of(row) if row else None


RENEW = f"""
UPDATE operations o SET lease_until = $3 WHERE o.id = $1 AND o.lease_token = $2 RETURNING {OPERATION}"""


async def renew(conn: Conn, operation: Operation, until: datetime) -> Operation | None:
    """The same work goes on. None: it is somebody else's now."""
    row = await conn.fetchrow(RENEW, operation.id, operation.lease_token, until)
    return operation_of(row) if row else None


UNFINISHED = "SELECT id FROM operations WHERE id = ANY ($1::uuid[]) AND finished_at IS NULL"


async def unfinished(conn: Conn, ids: Sequence[UUID]) -> frozenset[UUID]:
    """Those of these that are not over."""
    return frozenset(row["id"] for row in await conn.fetch(UNFINISHED, list(ids)))


FENCE = "SELECT true FROM operations WHERE id = $1 AND version = $2 FOR NO KEY UPDATE"


async def still(conn: Conn, operation: Operation) -> bool:
    """Whether the row is as it was read; it stays so until the transaction ends."""
    return await conn.fetchval(FENCE, operation.id, operation.version) is True


SAVE = f"""
UPDATE operations o SET state = $3, state_since = $4, target = $5, wish = $6, due_at = $7, last_error = $8, finished_at = $9,
  version = o.version + 1, lease_until = NULL, lease_token = NULL
WHERE o.id = $1 AND o.version = $2
RETURNING {OPERATION}"""


async def save(conn: Conn, operation: Operation) -> Operation | None:
    """Record it and give the row back. None: the row changed meanwhile, and this counts for nothing."""
    row = await conn.fetchrow(
        SAVE, operation.id, operation.version, operation.state, operation.state_since, _told(operation.target),
        operation.wish, operation.due_at, operation.last_error, operation.finished_at,
    )  # fmt: skip
    return operation_of(row) if row else None


SET_WISH = "UPDATE operations SET wish = $2, version = version + 1 WHERE id = $1"


async def set_wish(conn: Conn, operation_id: OperationId, wish: Wish | None) -> None:
    """Who is at work on it keeps the lease, and records what it does only after it has heard of the wish."""
    await conn.execute(SET_WISH, operation_id, wish)


SAVE_STEP = """
UPDATE operation_steps SET state = $3, state_since = $4, detail = $5, error = $6, started_at = $7, finished_at = $8
WHERE operation_id = $1 AND ordinal = $2"""


async def save_step(conn: Conn, step: Step) -> None:
    """For an operation that is fenced in the same transaction."""
    detail = {"before": asdict(step.before) if step.before else None, "seen_before": step.seen_before}
    await conn.execute(
        SAVE_STEP, step.operation_id, step.ordinal, step.state, step.state_since,
        {name: value for name, value in detail.items() if value is not None}, step.error, step.started_at,
        step.finished_at,
    )  # fmt: skip


LET_GO = """
UPDATE operation_steps SET held = false, state = CASE WHEN state = 'pending' THEN 'cancelled' ELSE state END,
  finished_at = coalesce(finished_at, $2), state_since = CASE WHEN state = 'pending' THEN $2 ELSE state_since END
WHERE operation_id = $1"""


async def let_go(conn: Conn, operation_id: OperationId, now: datetime) -> None:
    """It is over: steps that were not begun never will be, and its subjects are free for others."""
    await conn.execute(LET_GO, operation_id, now)


def _told(target: Target) -> dict[str, Any]:
    return {name: value for name, value in asdict(target).items() if value is not None}
