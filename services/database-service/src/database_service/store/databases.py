"""Rows of `databases`: reservations, spares, tenants' databases and their tombstones."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from database_service.domain.databases import Ask, Database, Login, LoginState, Status
from database_service.domain.ids import DatabaseId, InstanceId, ServerId, Who
from database_service.domain.moves import Terms
from database_service.domain.plans import ServerType, Tier
from database_service.domain.servers import Address
from database_service.domain.usage import Stop
from database_service.store.pool import Conn
from database_service.store.rows import DATABASE, ROOTS, database_of
from database_service.store.slots import OPEN

AlreadyThere = asyncpg.UniqueViolationError
"""Another request for the same instance, or for the same name on the same server, was first."""

RACED = (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError)
"""Another transaction won; look again."""

# -- looking ----------------------------------------------------------------------------------------------------------

GET = f"SELECT {DATABASE} FROM databases d WHERE d.id = $1"


async def get(conn: Conn, database_id: DatabaseId) -> Database | None:
    row = await conn.fetchrow(GET, database_id)
    return database_of(row) if row else None


OF_INSTANCE = f"SELECT {DATABASE} FROM databases d WHERE d.instance_id = $1"


async def of_instance(conn: Conn, instance_id: InstanceId) -> Database | None:
    row = await conn.fetchrow(OF_INSTANCE, instance_id)
    return database_of(row) if row else None


LOCK_OF_INSTANCE = f"{OF_INSTANCE} FOR UPDATE"


async def lock_of_instance(conn: Conn, instance_id: InstanceId) -> Database | None:
    """For a verb that changes what is wanted of this database."""
    row = await conn.fetchrow(LOCK_OF_INSTANCE, instance_id)
    return database_of(row) if row else None


@dataclass(frozen=True, slots=True)
class Seated:
    """A database with all that a caller needs to use it; the password still sealed."""

    database: Database
    server_name: str
    server_type: ServerType
    address: Address
    login: Login
    roots: str | None
    """Who vouches for the server, as PEM; None: it speaks no TLS."""


_SEATED = f"""{DATABASE}, s.name AS server_name, s.server_type AS seated_on, s.host, s.port,
 {ROOTS},
 l.id AS login_id, l.role, l.password_sealed, l.created_at AS login_created_at, l.expires_at"""


def _seated_of(row: asyncpg.Record) -> Seated:
    database = database_of(row)
    return Seated(
        database=database,
        server_name=row["server_name"],
        server_type=ServerType(row["seated_on"]),
        address=Address(row["host"], row["port"]),
        login=Login(
            id=row["login_id"],
            database_id=database.id,
            role=row["role"],
            password_sealed=row["password_sealed"],
            state=LoginState.ACTIVE,
            created_at=row["login_created_at"],
            expires_at=row["expires_at"],
        ),
        roots=row["roots"],
    )


SEATED_OF_INSTANCE = f"""
SELECT {_SEATED}
FROM databases d JOIN servers s ON s.id = d.server_id
JOIN LATERAL (SELECT * FROM logins x WHERE x.database_id = d.id AND x.state = 'active'
              ORDER BY x.created_at DESC, x.id DESC LIMIT 1) l ON true
WHERE d.instance_id = $1"""


async def seated(conn: Conn, instance_id: InstanceId) -> Seated | None:
    """The ready database of this instance with its newest working login. None while it is in any other state."""
    return _ready(await conn.fetchrow(SEATED_OF_INSTANCE, instance_id))


def _ready(row: asyncpg.Record | None) -> Seated | None:
    """Asked here and not in SQL: young statistics make the planner walk all ready ones instead of finding the one instance."""
    return _seated_of(row) if row and row["status"] == Status.READY else None


# One round trip: who reads credentials waits for the event's commit, and need not wait for three more answers.
SEATED_AND_NOTED = f"""
WITH shown AS MATERIALIZED ({SEATED_OF_INSTANCE}
), noted AS (
  INSERT INTO events (at, actor, action, subject, subject_id, instance_id, why, request_id)
  SELECT $2, $3, 'database.credentials_read', 'database', id, instance_id, role, $4 FROM shown WHERE status = 'ready'
)
SELECT * FROM shown"""


async def seated_and_noted(conn: Conn, instance_id: InstanceId, who: Who, at: datetime) -> Seated | None:
    """As `seated`, and where there is one, an event says who read its login."""
    return _ready(await conn.fetchrow(SEATED_AND_NOTED, instance_id, at, who.actor, who.request_id))


TELL = "SELECT pg_notify('database_changed', $1)"


async def tell(conn: Conn, instance_id: InstanceId) -> None:
    """Whoever waits for its database looks again, once this is committed; a change of its status is told of anyway."""
    await conn.execute(TELL, instance_id)


# -- allocation -------------------------------------------------------------------------------------------------------

# One statement, one commit, no network, nothing contended: a spare, not the best spare, so callers need not queue for it.
# An instance that has a row already gets none, so this is safe to try first; two at once for the same instance are settled
# by the unique index. Limits of another plan than the spare's are work for the reconciler, so the row is due then.
CLAIM_SPARE = f"""
WITH picked AS MATERIALIZED (
  SELECT d.id FROM databases d JOIN servers s ON s.id = d.server_id
  WHERE d.status = 'spare' AND d.template = $1 AND {OPEN}
    AND NOT EXISTS (SELECT 1 FROM databases x WHERE x.instance_id = $2)
  ORDER BY d.rank LIMIT 1 FOR UPDATE OF d SKIP LOCKED
), claimed AS (
  UPDATE databases d SET status = 'ready', status_since = $3, instance_id = $2, customer_id = $4, asked_tier = $5,
    plan_tier = $5, claimed_at = $3, ready_at = $3, version = d.version + 1,
    due_at = CASE WHEN d.limits_tier = $5 THEN NULL ELSE $3::timestamptz END
  FROM picked WHERE d.id = picked.id
  RETURNING {DATABASE}
), noted AS (
  INSERT INTO events (at, actor, action, subject, subject_id, instance_id, before, after, request_id)
  SELECT $3, $6, 'database.claimed', 'database', id, $2, 'spare', 'ready', $7 FROM claimed
)
SELECT {_SEATED} FROM claimed d JOIN servers s ON s.id = d.server_id
JOIN logins l ON l.database_id = d.id AND l.state = 'active'"""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who wants a spare, since when."""

    ask: Ask
    who: Who
    at: datetime

    @property
    def arguments(self) -> tuple[object, ...]:
        """As CLAIM_SPARE numbers them."""
        ask, who = self.ask, self.who
        return (
            ask.template, ask.instance_id, self.at, ask.customer_id, ask.plan_tier.value, who.actor, who.request_id
        )  # fmt: skip


async def claim_spare(conn: Conn, claim: Claim) -> Seated | None:
    """Give a spare to this instance. None: there is no spare, or the instance has a database. Raises RACED."""
    row = await conn.fetchrow(CLAIM_SPARE, *claim.arguments)
    return _seated_of(row) if row else None


class Tangled(Exception):
    """One of several claims met another transaction; none was made, and each can still be made alone."""


TOGETHER_S = 1.0
"""Claims that share a transaction wait no longer for another one."""


async def claim_spares(conn: Conn, claims: Sequence[Claim]) -> list[Seated | None]:
    """The same for several, in their order and in one transaction. Raises Tangled."""
    try:
        rows = await conn.fetchmany(CLAIM_SPARE, [claim.arguments for claim in claims], timeout=TOGETHER_S)
    except (*RACED, asyncpg.LockNotAvailableError, TimeoutError) as e:
        raise Tangled from e
    seats = {row["instance_id"]: _seated_of(row) for row in rows}
    return [seats.pop(claim.ask.instance_id, None) for claim in claims]  # who asked twice at once finds the first's


CLAIM_SPARE_NAMED = f"""
WITH picked AS MATERIALIZED (
  SELECT d.id FROM databases d JOIN servers s ON s.id = d.server_id
  WHERE d.status = 'spare' AND d.template = $1 AND {OPEN}
    AND NOT EXISTS (SELECT 1 FROM databases x WHERE x.instance_id = $2)
    AND NOT EXISTS (SELECT 1 FROM databases x WHERE x.server_id = s.id AND x.name = $6)
  ORDER BY d.rank LIMIT 1 FOR UPDATE OF d SKIP LOCKED
)
UPDATE databases d SET status = 'creating', status_since = $3, instance_id = $2, customer_id = $4, asked_tier = $5, plan_tier = $5,
  database_name = $6, name = $6, claimed_at = $3, due_at = $3, lease_until = $7, lease_token = $8, version = d.version + 1
FROM picked WHERE d.id = picked.id
RETURNING {DATABASE}"""


async def claim_spare_to_rename(conn: Conn, ask: Ask, now: datetime, lease: timedelta, token: UUID) -> Database | None:
    """A spare for a caller who wants a name of their own: leased, and `creating` until it has that name."""
    row = await conn.fetchrow(
        CLAIM_SPARE_NAMED, ask.template, ask.instance_id, now, ask.customer_id, ask.plan_tier.value, ask.database_name,
        now + lease, token,
    )  # fmt: skip
    return database_of(row) if row else None


INSERT = f"""
INSERT INTO databases AS d (id, status, status_since, instance_id, customer_id, asked_tier, server_type, require_dedicated,
  database_name, plan_tier, template, server_id, rank, name, owner_role, due_at, lease_until, lease_token, created_at, claimed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $3, $16, $17, $3,
  CASE WHEN $4::text IS NULL THEN NULL ELSE $3::timestamptz END)
RETURNING {DATABASE}"""


async def insert(
    conn: Conn,
    *,
    database_id: DatabaseId,
    status: str,
    now: datetime,
    ask: Ask | None,
    tier: Tier,
    template: str,
    server_id: ServerId | None,
    rank: int | None,
    name: str,
    owner_role: str,
    lease_until: datetime | None = None,
    lease_token: UUID | None = None,
) -> Database:
    """A new row, due now. Raises AlreadyThere where the instance has one, or its server has that name."""
    row = await conn.fetchrow(
        INSERT, database_id, status, now,
        ask.instance_id if ask else None,
        ask.customer_id if ask else None,
        ask.plan_tier.value if ask else None,
        ask.server_type.value if ask else ServerType.SHARED.value,
        ask.require_dedicated if ask else False,
        ask.database_name if ask else None,
        tier.value, template, server_id, rank, name, owner_role, lease_until, lease_token,
    )  # fmt: skip
    if row is None:
        raise LookupError("INSERT … RETURNING returned nothing")
    return database_of(row)


TAKE_SEAT = f"""
UPDATE databases d SET status = 'creating', status_since = $3, server_id = $4, rank = $5, name = $6, due_at = $3, attempts = 0,
  last_error = NULL, version = d.version + 1, lease_until = NULL, lease_token = NULL
WHERE d.id = $1 AND d.version = $2
RETURNING {DATABASE}"""


async def take_seat(
    conn: Conn, database: Database, *, server_id: ServerId, rank: int, name: str, now: datetime
) -> Database | None:
    """The waiting one has a slot now. None: it changed meanwhile."""
    row = await conn.fetchrow(TAKE_SEAT, database.id, database.version, now, server_id, rank, name)
    return database_of(row) if row else None


# Spares go to those who wait longest. The spare's row becomes the caller's, and the row that waited goes: it held nothing yet.
HAND_SPARES_TO_WAITING = f"""
WITH waiting AS MATERIALIZED (
  SELECT w.*, row_number() OVER (ORDER BY w.created_at, w.id) AS n FROM (
    SELECT id, instance_id, customer_id, asked_tier, plan_tier, created_at, protected FROM databases
    WHERE status = 'waiting' AND server_type = 'shared' AND database_name IS NULL AND template = $1
      AND (lease_until IS NULL OR lease_until <= $2)
    ORDER BY created_at, id LIMIT $3 FOR UPDATE SKIP LOCKED) w
), spares AS MATERIALIZED (
  SELECT p.id, row_number() OVER (ORDER BY p.rank) AS n FROM (
    SELECT d.id, d.rank FROM databases d JOIN servers s ON s.id = d.server_id
    WHERE d.status = 'spare' AND d.template = $1 AND {OPEN}
    ORDER BY d.rank LIMIT (SELECT count(*) FROM waiting) FOR UPDATE OF d SKIP LOCKED) p
), gone AS (
  DELETE FROM databases g USING waiting w JOIN spares p USING (n) WHERE g.id = w.id
  RETURNING p.id AS spare_id, w.id AS waiting_id, w.instance_id, w.customer_id, w.asked_tier, w.plan_tier, w.created_at, w.protected
), handed AS (
  UPDATE databases d SET status = 'ready', status_since = $2, instance_id = g.instance_id, customer_id = g.customer_id,
    asked_tier = g.asked_tier, plan_tier = g.plan_tier, created_at = g.created_at, protected = g.protected,
    claimed_at = g.created_at, ready_at = $2, version = d.version + 1,
    due_at = CASE WHEN d.limits_tier = g.plan_tier THEN NULL ELSE $2::timestamptz END
  FROM gone g WHERE d.id = g.spare_id
  RETURNING d.id, d.instance_id
), noted AS (
  INSERT INTO events (at, actor, action, subject, subject_id, instance_id, before, after, why)
  SELECT $2, $4, 'database.claimed', 'database', id, instance_id, 'spare', 'ready', 'it waited longest' FROM handed
)
SELECT instance_id, pg_notify('database_changed', instance_id) FROM handed"""


async def hand_spares_to_waiting(conn: Conn, template: str, who: Who, now: datetime, most: int) -> int:
    """Give spares to those who wait, the longest first; returns how many were served. Their listeners are told."""
    return len(await conn.fetch(HAND_SPARES_TO_WAITING, template, now, most, who.actor))


# -- steps ------------------------------------------------------------------------------------------------------------

CLAIM = f"""
UPDATE databases d SET lease_until = $3, lease_token = $4, version = d.version + 1
WHERE d.id = $1 AND d.due_at <= $2 AND (d.lease_until IS NULL OR d.lease_until <= $2)
RETURNING {DATABASE}"""


async def claim(conn: Conn, database_id: DatabaseId, now: datetime, lease: timedelta, token: UUID) -> Database | None:
    """Take the row for one step. None: not due, or somebody has it."""
    row = await conn.fetchrow(CLAIM, database_id, now, now + lease, token)
    return database_of(row) if row else None


SAVE = f"""
UPDATE databases d SET status = $3, status_since = $4, limits_tier = $5, server_id = $6, physical_name = $7,
  purge_after = $8, due_at = $9, attempts = $10, last_error = $11, ready_at = $12, released_at = $13, stop = $14, stop_wanted = $15,
  version = d.version + 1, lease_until = NULL, lease_token = NULL
WHERE d.id = $1 AND d.version = $2
RETURNING {DATABASE}"""


async def save(conn: Conn, database: Database) -> Database | None:
    """Record a step's result and give the row back. None: the row changed meanwhile, and this result counts for nothing."""
    row = await conn.fetchrow(
        SAVE, database.id, database.version, database.status, database.status_since, database.limits_tier,
        database.server_id, database.physical_name, database.purge_after, database.due_at,
        database.attempts, database.last_error, database.ready_at, database.released_at, database.stop, database.stop_wanted,
    )  # fmt: skip
    return database_of(row) if row else None


WANT = f"""
UPDATE databases d SET status = $2, status_since = $3, protected = $4, purge_after = $5, released_at = $6, due_at = $7,
  server_id = $8, attempts = 0, last_error = NULL, version = d.version + 1
WHERE d.id = $1
RETURNING {DATABASE}"""


async def want(conn: Conn, database: Database) -> Database:
    """Write what a verb wants of a locked row. A step in flight keeps its lease, and finds its result refused."""
    row = await conn.fetchrow(
        WANT, database.id, database.status, database.status_since, database.protected, database.purge_after,
        database.released_at, database.due_at, database.server_id,
    )  # fmt: skip
    if row is None:
        raise LookupError(f"database {database.id} vanished under its lock")
    return database_of(row)


SET_PLAN = f"""
UPDATE databases d SET plan_tier = $2, asked_tier = $2, server_type = $3, require_dedicated = $4, due_at = $5,
  version = d.version + 1
WHERE d.id = $1 RETURNING {DATABASE}"""


async def set_plan(conn: Conn, database_id: DatabaseId, terms: Terms, now: datetime) -> Database:
    """What a locked database is entitled to from now on; its own step sets the limits."""
    row = await conn.fetchrow(
        SET_PLAN, database_id, terms.plan_tier, terms.server_type, terms.require_dedicated, now
    )  # fmt: skip
    if row is None:
        raise LookupError(f"database {database_id} vanished under its lock")
    return database_of(row)


WANT_STOP = "UPDATE databases SET stop_wanted = $2, due_at = $3, version = version + 1 WHERE id = $1"


async def want_stop(conn: Conn, database_id: DatabaseId, stop: Stop, now: datetime) -> None:
    """What a locked database may no longer do; its own step tells its server."""
    await conn.execute(WANT_STOP, database_id, stop, now)


STOP_AGAIN = """
UPDATE databases SET stop = NULL, due_at = $2, version = version + 1
WHERE id = $1 AND status = 'ready' AND stop = stop_wanted AND stop <> 'none'"""


async def stop_again(conn: Conn, database_id: DatabaseId, now: datetime) -> None:
    """What was refused came about all the same, so its server is told again."""
    await conn.execute(STOP_AGAIN, database_id, now)


LOOK_NOW = f"""
UPDATE databases d SET due_at = $2, version = d.version + 1 WHERE d.id = $1
RETURNING {DATABASE}"""


async def look_now(conn: Conn, database_id: DatabaseId, now: datetime) -> Database | None:
    """There is new work on this row."""
    row = await conn.fetchrow(LOOK_NOW, database_id, now)
    return database_of(row) if row else None


SEAT_NOW = """
UPDATE databases SET due_at = $2 WHERE id = $1 AND status = 'waiting' AND (lease_until IS NULL OR lease_until <= $2)"""


async def seat_now(conn: Conn, database_id: DatabaseId, now: datetime) -> None:
    """Its turn has come. The version stays: who already works on it is not disturbed."""
    await conn.execute(SEAT_NOW, database_id, now)


RELINQUISH = f"""
WITH noted AS (
  INSERT INTO events (at, actor, action, subject, subject_id, instance_id, before, after, why, request_id)
  SELECT $3, $4, 'database.relinquished', 'database', id, instance_id, status, 'purged', last_error, $5
  FROM databases WHERE id = $1 AND version = $2
)
UPDATE databases d SET status = 'purged', status_since = $3, instance_id = NULL, customer_id = NULL, asked_tier = NULL,
  due_at = $3, attempts = 0, version = d.version + 1, lease_until = NULL, lease_token = NULL
WHERE d.id = $1 AND d.version = $2
RETURNING {DATABASE}"""


async def relinquish(conn: Conn, database: Database, who: Who, now: datetime) -> Database | None:
    """Part a half-made database from its instance, which is seated elsewhere; what is on the old server will be dropped."""
    row = await conn.fetchrow(RELINQUISH, database.id, database.version, now, who.actor, who.request_id)
    return database_of(row) if row else None


WAKE_ON_SERVER = """
UPDATE databases SET due_at = $2 WHERE server_id = $1 AND due_at > $2 AND status IN ('creating', 'ready', 'releasing', 'purged')
  AND (attempts > 0 OR status = 'creating')
RETURNING id"""


async def wake_on_server(conn: Conn, server_id: ServerId, now: datetime) -> list[UUID]:
    """A server is well (again): whatever was put off on it is due now."""
    return [row["id"] for row in await conn.fetch(WAKE_ON_SERVER, server_id, now)]


WAITING = (
    "SELECT id FROM databases WHERE status = 'waiting' AND server_type = 'shared' ORDER BY created_at, id LIMIT $1"
)


async def waiting(conn: Conn, most: int) -> list[UUID]:
    return [row["id"] for row in await conn.fetch(WAITING, most)]


LOCK_ALL_ON = (
    f"SELECT {DATABASE} FROM databases d WHERE d.server_id = $1 AND d.status <> 'purged' ORDER BY d.id FOR UPDATE"
)


async def lock_all_on(conn: Conn, server_id: ServerId) -> list[Database]:
    """Every database on this server, locked: claims in flight are waited for, later ones find their spare changed."""
    return [database_of(row) for row in await conn.fetch(LOCK_ALL_ON, server_id)]


LOCK_NEWEST_ON = f"""
SELECT {DATABASE} FROM databases d WHERE d.server_id = $1 AND d.status = 'ready'
  AND NOT EXISTS (SELECT FROM operation_steps p WHERE p.subject_id = d.id AND p.held)
ORDER BY d.ready_at DESC, d.id LIMIT $2 FOR UPDATE OF d SKIP LOCKED"""


async def lock_newest_on(conn: Conn, server_id: ServerId, most: int) -> list[Database]:
    """Databases in use that no operation is about, locked, the newest first."""
    return [database_of(row) for row in await conn.fetch(LOCK_NEWEST_ON, server_id, most)]


FORGET_ON = """
WITH noted AS (
  INSERT INTO events (at, actor, action, subject, subject_id, instance_id, before, after, why, request_id)
  SELECT $2, $3, 'database.forgotten', 'database', id, instance_id, status, 'purged', 'its server goes', $4
  FROM databases WHERE server_id = $1
), unused AS (
  DELETE FROM usage WHERE server_id = $1
)
UPDATE databases SET status = 'purged', status_since = CASE WHEN status = 'purged' THEN status_since ELSE $2::timestamptz END,
  server_id = NULL, physical_name = NULL, due_at = NULL, lease_until = NULL, lease_token = NULL, version = version + 1
WHERE server_id = $1"""


async def forget_on(conn: Conn, server_id: ServerId, who: Who, now: datetime) -> None:
    """Nobody's databases go with their server."""
    await conn.execute(FORGET_ON, server_id, now, who.actor, who.request_id)


PURGE_SPARES_ON = """
WITH noted AS (
  INSERT INTO events (at, actor, action, subject, subject_id, before, after, why, request_id)
  SELECT $2, $3, 'database.purged', 'database', id, status, 'purged', 'its server is retired', $4
  FROM databases WHERE server_id = $1 AND instance_id IS NULL AND status <> 'purged'
)
UPDATE databases SET status = 'purged', status_since = $2, due_at = $2, attempts = 0, version = version + 1
WHERE server_id = $1 AND instance_id IS NULL AND status <> 'purged'"""


async def purge_spares_on(conn: Conn, server_id: ServerId, who: Who, now: datetime) -> None:
    """Spares of a server that outlives our interest in it are dropped from it, and what moved databases left there."""
    await conn.execute(PURGE_SPARES_ON, server_id, now, who.actor, who.request_id)


PAST_GRACE = """
SELECT id FROM databases WHERE status = 'released' AND NOT protected AND purge_after <= $1 AND due_at <= $1
ORDER BY purge_after LIMIT $2"""


async def past_grace(conn: Conn, now: datetime, most: int) -> list[UUID]:
    return [row["id"] for row in await conn.fetch(PAST_GRACE, now, most)]
