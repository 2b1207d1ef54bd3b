"""Rows of `servers`."""

from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from database_service.domain.ids import ServerId
from database_service.domain.operations import Values
from database_service.domain.plans import Tier
from database_service.domain.servers import Server, Status
from database_service.store.pool import Conn
from database_service.store.rows import SERVER, server_of

INSERT = f"""
INSERT INTO servers AS s (id, name, server_type, provisioner, status, status_since, manual, priority, max_instances, instance_id,
  customer_id, plan_tier, host, port, admin_user, admin_password_sealed, image, cpu_limit, memory_limit, request_key, due_at,
  created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $6, $6, $6)
ON CONFLICT (request_key) DO NOTHING
RETURNING {SERVER}"""


async def insert(
    conn: Conn,
    *,
    server_id: ServerId,
    name: str,
    server_type: str,
    provisioner: str,
    status: Status,
    now: datetime,
    manual: bool,
    priority: int,
    max_instances: int,
    instance_id: str | None,
    customer_id: str | None,
    plan_tier: str | None,
    host: str | None,
    port: int | None,
    admin_user: str,
    admin_password_sealed: bytes,
    image: str | None,
    cpu_limit: float,
    memory_limit: int,
    request_key: str | None,
) -> Server | None:
    """A new server, due now. None where one was ordered with this `request_key` before."""
    row = await conn.fetchrow(
        INSERT, server_id, name, server_type, provisioner, status, now, manual, priority, max_instances, instance_id,
        customer_id, plan_tier, host, port, admin_user, admin_password_sealed, image, cpu_limit, memory_limit,
        request_key,
    )  # fmt: skip
    return server_of(row) if row else None


GET = f"SELECT {SERVER} FROM servers s WHERE s.id = $1"


async def get(conn: Conn, server_id: ServerId) -> Server | None:
    row = await conn.fetchrow(GET, server_id)
    return server_of(row) if row else None


BY_REQUEST_KEY = f"SELECT {SERVER} FROM servers s WHERE s.request_key = $1"


async def by_request_key(conn: Conn, key: str) -> Server | None:
    row = await conn.fetchrow(BY_REQUEST_KEY, key)
    return server_of(row) if row else None


DEDICATED_OF = f"SELECT {SERVER} FROM servers s WHERE s.instance_id = $1 AND s.status NOT IN ('deprovisioning', 'gone')"


async def dedicated_of(conn: Conn, instance_id: str) -> Server | None:
    """The dedicated server of this instance; one that is being removed is nobody's any more."""
    row = await conn.fetchrow(DEDICATED_OF, instance_id)
    return server_of(row) if row else None


CLAIM = f"""
UPDATE servers s SET lease_until = $3, lease_token = $4, version = s.version + 1
WHERE s.id = $1 AND s.due_at <= $2 AND (s.lease_until IS NULL OR s.lease_until <= $2)
RETURNING {SERVER}"""


async def claim(conn: Conn, server_id: ServerId, now: datetime, lease: timedelta, token: UUID) -> Server | None:
    """Take the row for one step. None: not due, or somebody has it."""
    row = await conn.fetchrow(CLAIM, server_id, now, now + lease, token)
    return server_of(row) if row else None


SAVE = f"""
UPDATE servers s SET status = $3, status_since = $4, health_status = $5, health_failures = $6, health_message = $7,
  last_health_check = $8, host = $9, port = $10, postgres_version = $11, facts = $12, due_at = $13, attempts = $14,
  last_error = $15, updated_at = $16, image = $17,
  -- A server somebody else runs may be adopted again.
  request_key = CASE WHEN $3 = 'gone' AND s.provisioner = 'external' THEN NULL ELSE s.request_key END,
  version = s.version + 1, lease_until = NULL, lease_token = NULL
WHERE s.id = $1 AND s.version = $2
RETURNING {SERVER}"""


async def save(conn: Conn, server: Server, now: datetime) -> Server | None:
    """Record a step's result and give the row back. None: the row changed meanwhile, and this result counts for nothing."""
    row = await conn.fetchrow(
        SAVE, server.id, server.version, server.status, server.status_since, server.health, server.health_failures,
        server.health_message, server.last_health_check, server.host, server.port, server.postgres_version,
        dict(server.facts), server.due_at, server.attempts, server.last_error, now, server.image,
    )  # fmt: skip
    return server_of(row) if row else None


SET_CORDON = f"""
UPDATE servers s SET cordoned = $2, cordon_reason = $3, updated_at = $4, version = s.version + 1
WHERE s.id = $1 AND s.status <> 'gone'
RETURNING {SERVER}"""


async def set_cordon(
    conn: Conn, server_id: ServerId, *, cordoned: bool, reason: str | None, now: datetime
) -> Server | None:
    row = await conn.fetchrow(SET_CORDON, server_id, cordoned, reason, now)
    return server_of(row) if row else None


LOCK = f"SELECT {SERVER} FROM servers s WHERE s.id = $1 FOR NO KEY UPDATE"


async def lock(conn: Conn, server_id: ServerId) -> Server | None:
    """For a verb that changes what the server is for. Allocation never takes this lock, and its foreign keys pass it."""
    row = await conn.fetchrow(LOCK, server_id)
    return server_of(row) if row else None


DEPROVISION = f"""
UPDATE servers s SET status = 'deprovisioning', status_since = $2, updated_at = $2, due_at = $2, attempts = 0,
  keep_data_until = $3, version = s.version + 1
WHERE s.id = $1
RETURNING {SERVER}"""


async def deprovision(conn: Conn, server_id: ServerId, now: datetime, keep_data_until: datetime | None) -> Server:
    return _there(await conn.fetchrow(DEPROVISION, server_id, now, keep_data_until), server_id)


TAKE = f"""
UPDATE servers s SET lease_until = $3, lease_token = $4, version = s.version + 1
WHERE s.id = $1 AND s.status NOT IN ('deprovisioning', 'gone') AND (s.lease_until IS NULL OR s.lease_until <= $2)
RETURNING {SERVER}"""


async def take(conn: Conn, server_id: ServerId, now: datetime, lease: timedelta, token: UUID) -> Server | None:
    """As `claim`, for an operation, which does not wait until the server itself is due. None also where it is leaving."""
    row = await conn.fetchrow(TAKE, server_id, now, now + lease, token)
    return server_of(row) if row else None


CHANGE = f"""
UPDATE servers s SET image = $2, memory_limit = $3, cpu_limit = $4, max_instances = $5, updated_at = $6,
  version = s.version + 1
WHERE s.id = $1
RETURNING {SERVER}"""


async def change(conn: Conn, server_id: ServerId, values: Values, now: datetime) -> Server:
    """It should be like this from now on. For a row that is locked."""
    row = await conn.fetchrow(
        CHANGE, server_id, values.image, values.memory_limit, values.cpu_limit, values.max_instances, now
    )
    return _there(row, server_id)


EXPECT_DOWN = f"""
UPDATE servers s SET health_status = 'unhealthy', health_message = $3, version = s.version + 1
WHERE s.id = $1 AND s.version = $2
RETURNING {SERVER}"""


async def expect_down(conn: Conn, server_id: ServerId, version: int, why: str) -> Server | None:
    """It is about to be restarted, and takes no databases until it was seen well again. None: it changed meanwhile."""
    row = await conn.fetchrow(EXPECT_DOWN, server_id, version, why)
    return server_of(row) if row else None


WANT_PASSWORD = f"""
UPDATE servers s SET admin_password_next = coalesce(s.admin_password_next, $2), version = s.version + 1
WHERE s.id = $1
RETURNING {SERVER}"""


async def want_password(conn: Conn, server_id: ServerId, sealed: bytes) -> Server:
    """The password it is to be given; one that it may have been given already stays. For a row that is locked."""
    return _there(await conn.fetchrow(WANT_PASSWORD, server_id, sealed), server_id)


TURN_PASSWORD = f"""
UPDATE servers s SET admin_password_sealed = s.admin_password_next, admin_password_next = NULL,
  admin_password_version = s.admin_password_version + 1, updated_at = $3, version = s.version + 1,
  due_at = least(s.due_at, $3), lease_until = NULL, lease_token = NULL
WHERE s.id = $1 AND s.version = $2 AND s.admin_password_next IS NOT NULL
RETURNING {SERVER}"""


async def turn_password(conn: Conn, server_id: ServerId, version: int, now: datetime) -> Server | None:
    """The next password is the current one, and the row is given back. None: the row changed meanwhile."""
    row = await conn.fetchrow(TURN_PASSWORD, server_id, version, now)
    return server_of(row) if row else None


CHOOSE = f"""
SELECT {SERVER} FROM servers s
WHERE s.status = 'active' AND ($1::text IS NULL OR s.server_type = $1) AND ($2 OR s.provisioner <> 'external')
ORDER BY s.seq"""


async def choose(conn: Conn, server_type: str | None, *, external: bool) -> list[Server]:
    """Active servers of this type; those that somebody else runs only where they are wanted too."""
    return [server_of(row) for row in await conn.fetch(CHOOSE, server_type, external)]


SET_PLAN = "UPDATE servers SET plan_tier = $2, version = version + 1, updated_at = $3 WHERE id = $1"


async def set_plan(conn: Conn, server_id: ServerId, tier: Tier, now: datetime) -> None:
    """The plan that a dedicated server is for."""
    await conn.execute(SET_PLAN, server_id, tier, now)


def _there(row: asyncpg.Record | None, server_id: ServerId) -> Server:
    if row is None:
        raise LookupError(f"server {server_id} vanished under its lock")
    return server_of(row)


MAKE_DUE = "UPDATE servers SET due_at = $2 WHERE id = $1 AND status <> 'gone' AND (due_at IS NULL OR due_at > $2)"


async def make_due(conn: Conn, server_id: ServerId, now: datetime) -> None:
    await conn.execute(MAKE_DUE, server_id, now)


MAKE_UNCHECKED_DUE = """
UPDATE servers SET due_at = least(due_at, $1)
WHERE status IN ('active', 'error') AND (last_health_check IS NULL OR last_health_check <= $2)
RETURNING id"""


async def make_unchecked_due(conn: Conn, now: datetime, checked_before: datetime) -> list[UUID]:
    """Servers whose last check is older than that; returns their ids."""
    return [row["id"] for row in await conn.fetch(MAKE_UNCHECKED_DUE, now, checked_before)]


FAILED_AND_EMPTY = """
SELECT s.id FROM servers s
WHERE s.status = 'error' AND s.status_since <= $1 AND NOT s.cordoned
  AND NOT EXISTS (SELECT 1 FROM databases d WHERE d.server_id = s.id AND d.status <> 'purged'
                    AND (d.instance_id IS NOT NULL OR d.status = 'landing'))
ORDER BY s.seq"""


async def failed_and_empty(conn: Conn, since: datetime) -> list[UUID]:
    """Servers that failed before then and hold nobody's database. One that is cordoned is somebody's business already."""
    return [row["id"] for row in await conn.fetch(FAILED_AND_EMPTY, since)]


ACTIVE = f"SELECT {SERVER} FROM servers s WHERE s.status = 'active' AND s.health_status <> 'unhealthy' ORDER BY s.seq"


async def active(conn: Conn) -> list[Server]:
    return [server_of(row) for row in await conn.fetch(ACTIVE)]
