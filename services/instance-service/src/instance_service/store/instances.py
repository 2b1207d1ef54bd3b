"""Rows of `instances`, tombstones included."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from instance_service.domain.ids import CustomerId, InstanceId
from instance_service.domain.instances import Ask, Instance, Status
from instance_service.store.pool import Conn
from instance_service.store.rows import INSTANCE, instance_of

AlreadyThere = asyncpg.UniqueViolationError
"""Another request for the same name, or with the same key, was first."""

GET = f"SELECT {INSTANCE} FROM instances i WHERE i.id = $1"


async def get(conn: Conn, instance_id: InstanceId) -> Instance | None:
    row = await conn.fetchrow(GET, instance_id)
    return instance_of(row) if row else None


LOCK = f"{GET} FOR UPDATE"


async def lock(conn: Conn, instance_id: InstanceId) -> Instance | None:
    """For a verb that changes what is wanted of this instance."""
    row = await conn.fetchrow(LOCK, instance_id)
    return instance_of(row) if row else None


OF_KEY = f"SELECT {INSTANCE} FROM instances i WHERE i.request_key = $1"


async def of_key(conn: Conn, request_key: str) -> Instance | None:
    """The instance that was asked for with this key, deleted or not."""
    row = await conn.fetchrow(OF_KEY, request_key)
    return instance_of(row) if row else None


OF_NAME = f"SELECT {INSTANCE} FROM instances i WHERE i.customer_id = $1 AND i.name = $2 AND i.status <> 'deleted'"


async def of_name(conn: Conn, customer_id: CustomerId, name: str) -> Instance | None:
    row = await conn.fetchrow(OF_NAME, customer_id, name)
    return instance_of(row) if row else None


INSERT = f"""
INSERT INTO instances AS i (id, name, customer_id, asked_tier, image, command, env, plan_tier, placed_tier, wanted, status,
  status_since, budget_until, request_key, due_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $4, $4, 'running', 'pending', $8, $9, $10, $8, $8)
RETURNING {INSTANCE}"""


async def insert(
    conn: Conn, *, instance_id: InstanceId, ask: Ask, budget_until: datetime, request_key: str | None, now: datetime
) -> Instance:
    """A new instance, due now. Raises AlreadyThere."""
    row = await conn.fetchrow(
        INSERT, instance_id, ask.name, ask.customer_id, ask.plan_tier, ask.image, list(ask.command), dict(ask.env), now,
        budget_until, request_key,
    )  # fmt: skip
    if row is None:
        raise LookupError("an insert that meets no conflict returns its row")
    return instance_of(row)


CLAIM = f"""
UPDATE instances i SET lease_until = $3, lease_token = $4, version = i.version + 1
WHERE i.id = $1 AND i.due_at <= $2 AND (i.lease_until IS NULL OR i.lease_until <= $2)
RETURNING {INSTANCE}"""


async def claim(conn: Conn, instance_id: InstanceId, now: datetime, lease: timedelta, token: UUID) -> Instance | None:
    """Take the row for one step. None: not due, or somebody has it."""
    row = await conn.fetchrow(CLAIM, instance_id, now, now + lease, token)
    return instance_of(row) if row else None


_STATE = """plan_tier = $3, placed_tier = $4, wanted = $5, status = $6, status_since = $7, given_host = $8, given_port = $9,
  given_user = $10, given_version = $11, host = $12, port = $13, errand = $14, operation_id = $15, progress = $16,
  budget_until = $17, failures = $18, due_at = $19, attempts = $20, last_error = $21, deleted_at = $22, version = i.version + 1"""

SAVE = f"""
UPDATE instances i SET {_STATE}, lease_until = NULL, lease_token = NULL WHERE i.id = $1 AND i.version = $2
RETURNING {INSTANCE}"""


async def save(conn: Conn, instance: Instance) -> Instance | None:
    """Record what a step made of it and give the row back. None: the row changed meanwhile, and this counts for nothing."""
    row = await conn.fetchrow(SAVE, *_arguments(instance))
    return instance_of(row) if row else None


WANT = f"UPDATE instances i SET {_STATE} WHERE i.id = $1 AND i.version = $2 RETURNING {INSTANCE}"


async def want(conn: Conn, instance: Instance) -> Instance:
    """Record what a verb wants of a row it has locked. Who is at work on it keeps the lease, and records nothing."""
    row = await conn.fetchrow(WANT, *_arguments(instance))
    if row is None:
        raise LookupError("a locked row does not change")
    return instance_of(row)


def _arguments(instance: Instance) -> tuple[object, ...]:
    given, address = instance.given, instance.address
    return (
        instance.id, instance.version, instance.plan_tier, instance.placed_tier, instance.wanted, instance.status,
        instance.status_since, given and given.database.host, given and given.database.port, given and given.user,
        given and given.version, address and address.host, address and address.port, instance.errand,
        instance.operation_id, None if instance.progress is None else dict(instance.progress), instance.budget_until,
        instance.failures, instance.due_at, instance.attempts, instance.last_error, instance.deleted_at,
    )  # fmt: skip


RELEASE = "UPDATE instances SET lease_until = NULL, lease_token = NULL WHERE id = $1 AND lease_token = $2"


async def give_back(conn: Conn, instance_id: InstanceId, token: UUID) -> None:
    """At once when the fence refused our result, so that the next step need not wait for the lease to end."""
    await conn.execute(RELEASE, instance_id, token)


STATUSES = "SELECT id, status FROM instances WHERE id = ANY($1::uuid[])"


async def statuses(conn: Conn, ids: Sequence[InstanceId]) -> Mapping[InstanceId, Status]:
    """Of those of these that there are, deleted ones too."""
    return {InstanceId(row["id"]): Status(row["status"]) for row in await conn.fetch(STATUSES, ids)}


MAKE_DUE = "UPDATE instances SET due_at = $2 WHERE id = $1 AND due_at > $2"


async def make_due(conn: Conn, instance_id: InstanceId, now: datetime) -> None:
    """Something happened that its next look need not wait for. One that rests goes on resting."""
    await conn.execute(MAKE_DUE, instance_id, now)


DUE = """
SELECT id FROM instances WHERE due_at <= $1 AND (lease_until IS NULL OR lease_until <= $1) ORDER BY due_at LIMIT $2"""


async def due(conn: Conn, now: datetime, limit: int) -> list[InstanceId]:
    """Rows to look at now, the longest due first. Each step claims its own row, so a doubled hand-out is harmless."""
    return [InstanceId(row["id"]) for row in await conn.fetch(DUE, now, limit)]
