"""Rows of `moves`, and what a move changes in the rows of its database, its seat and its twin."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from database_service.domain.databases import Database
from database_service.domain.ids import DatabaseId, OperationId, ServerId
from database_service.domain.moves import Move, Terms
from database_service.store.pool import Conn
from database_service.store.rows import DATABASE, MOVE, database_of, move_of
from database_service.store.slots import OPEN, Seat

# -- rows of `moves` --------------------------------------------------------------------------------------------------

INSERT = """
INSERT INTO moves (operation_id, ordinal, database_id, source_id, target_id, tier_before, tier_after, type_before, type_after,
  dedicated_before, dedicated_after, back, phase, phase_since, mover_role, mover_password_sealed)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'seating', $13, $14, $15)"""


async def insert(
    conn: Conn,
    *,
    operation_id: OperationId,
    ordinal: int,
    database: Database,
    source_id: ServerId,
    target_id: ServerId | None,
    before: Terms,
    after: Terms,
    back: bool,
    mover_role: str,
    mover_password_sealed: bytes,
    now: datetime,
) -> None:
    """A move that is to be made; its name on the target and its mover are stored before they are used."""
    await conn.execute(
        INSERT, operation_id, ordinal, database.id, source_id, target_id, before.plan_tier, after.plan_tier,
        before.server_type, after.server_type, before.require_dedicated, after.require_dedicated, back, now,
        mover_role, mover_password_sealed,
    )  # fmt: skip


GET = f"SELECT {MOVE} FROM moves m WHERE m.operation_id = $1 AND m.ordinal = $2"


async def get(conn: Conn, operation_id: OperationId, ordinal: int) -> Move | None:
    row = await conn.fetchrow(GET, operation_id, ordinal)
    return move_of(row) if row else None


OF_OPERATION = f"SELECT {MOVE} FROM moves m WHERE m.operation_id = $1 ORDER BY m.ordinal"


async def of_operation(conn: Conn, operation_id: OperationId) -> list[Move]:
    return [move_of(row) for row in await conn.fetch(OF_OPERATION, operation_id)]


SAVE = """
UPDATE moves SET target_id = $3, twin_id = $4, phase = $5, phase_since = $6, attempt = $7, stale = $8, size_bytes = $9,
  fraction = $10, kept_until = $11, fenced_at = $12, switched_at = $13, opened_at = $14, undone_why = $15, tries = $16
WHERE operation_id = $1 AND ordinal = $2"""


async def save(conn: Conn, move: Move) -> None:
    """For an operation that is fenced in the same transaction."""
    await conn.execute(
        SAVE, move.operation_id, move.ordinal, move.target_id, move.twin_id, move.phase, move.phase_since, move.attempt,
        list(move.stale), move.size_bytes, move.fraction, move.kept_until, move.fenced_at, move.switched_at, move.opened_at,
        move.undone_why, move.tries,
    )  # fmt: skip


TELL = "UPDATE moves SET fraction = $3 WHERE operation_id = $1 AND ordinal = $2"


async def tell(conn: Conn, move: Move, fraction: float | None) -> None:
    """How far its phase is; only for those who watch."""
    await conn.execute(TELL, move.operation_id, move.ordinal, fraction)


PACE = """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY pace) AS median FROM (
  SELECT size_bytes / extract(epoch FROM opened_at - fenced_at)::float8 AS pace FROM moves
  WHERE phase = 'done' AND NOT back AND size_bytes >= $1 AND opened_at > fenced_at ORDER BY switched_at DESC LIMIT 20) measured"""


async def pace(conn: Conn, least_bytes: int) -> float | None:
    """Bytes per second of the last moves that had so much to move; None where there was none."""
    median: float | None = await conn.fetchval(PACE, least_bytes)
    return median


# -- the database -----------------------------------------------------------------------------------------------------

SHUT = f"""
UPDATE databases d SET status = 'moving', status_since = $2, due_at = NULL, attempts = 0, last_error = NULL,
  version = d.version + 1, lease_until = NULL, lease_token = NULL
WHERE d.id = $1 AND d.status = 'ready' AND (d.lease_until IS NULL OR d.lease_until <= $2)
RETURNING {DATABASE}"""


async def shut(conn: Conn, database_id: DatabaseId, now: datetime) -> Database | None:
    """From here on it moves. None: it is no longer ready, or one of its own steps is just at work on it."""
    row = await conn.fetchrow(SHUT, database_id, now)
    return database_of(row) if row else None


REOPEN = f"""
UPDATE databases d SET status = 'creating', status_since = $2, due_at = $2, version = d.version + 1, lease_until = NULL,
  lease_token = NULL
WHERE d.id = $1 AND d.status = 'moving'
RETURNING {DATABASE}"""


async def reopen(conn: Conn, database_id: DatabaseId, now: datetime) -> Database | None:
    """Its own step opens its door again, where it is. None: it did not move."""
    row = await conn.fetchrow(REOPEN, database_id, now)
    return database_of(row) if row else None


LOCK = f"SELECT {DATABASE} FROM databases d WHERE d.id = $1 FOR UPDATE"


async def lock(conn: Conn, database_id: DatabaseId) -> Database | None:
    row = await conn.fetchrow(LOCK, database_id)
    return database_of(row) if row else None


# Between the two the twin has a name of its own: a server holds no name twice.
VACATE = """
UPDATE databases SET server_id = $2, name = id::text WHERE id = $1"""

ARRIVE = f"""
UPDATE databases d SET server_id = $2, rank = $3, physical_name = $4, status = 'creating', status_since = $5, due_at = $5,
  plan_tier = $6, asked_tier = $6, server_type = $7, require_dedicated = $8, attempts = 0, last_error = NULL,
  version = d.version + 1, lease_until = NULL, lease_token = NULL
WHERE d.id = $1 RETURNING {DATABASE}"""

LEAVE = f"""
UPDATE databases d SET name = $2, physical_name = $3, rank = $4, status = 'released', status_since = $5, released_at = $5,
  purge_after = $6, due_at = $6, attempts = 0, last_error = NULL, version = d.version + 1, lease_until = NULL, lease_token = NULL
WHERE d.id = $1 RETURNING {DATABASE}"""

LEAVE_SLOT = "UPDATE slots SET database_id = NULL WHERE database_id = $1 RETURNING server_id, ordinal"

HAND_SLOT = "UPDATE slots SET database_id = $2 WHERE database_id = $1"

TAKE_SLOT = "UPDATE slots SET database_id = $3 WHERE server_id = $1 AND ordinal = $2"


@dataclass(frozen=True, slots=True)
class Switched:
    """The database where it is now, and its twin where it was."""

    database: Database
    twin: Database


async def switch(
    conn: Conn, database: Database, twin: Database, after: Terms, now: datetime, keep_until: datetime
) -> Switched:
    """Database and twin, both locked, change places: servers, slots and what is there of each. The twin is kept until then."""
    left = await conn.fetchrow(LEAVE_SLOT, twin.id)
    if left is None or database.rank is None or twin.rank is None:
        raise LookupError(f"database {twin.id} has no seat to change places with")
    await conn.execute(HAND_SLOT, database.id, twin.id)
    await conn.execute(TAKE_SLOT, left["server_id"], left["ordinal"], database.id)
    await conn.execute(VACATE, twin.id, database.server_id)
    arrived = await conn.fetchrow(
        ARRIVE, database.id, twin.server_id, twin.rank, twin.physical_name, now, after.plan_tier, after.server_type,
        after.require_dedicated,
    )  # fmt: skip
    kept = await conn.fetchrow(LEAVE, twin.id, database.name, database.physical_name, database.rank, now, keep_until)
    return Switched(_changed(arrived), _changed(kept))


# -- the twin ---------------------------------------------------------------------------------------------------------

LAND = f"""
INSERT INTO databases AS d (id, status, status_since, twin_of, server_type, plan_tier, template, server_id, rank, name, owner_role,
  created_at)
VALUES ($1, 'landing', $2, $3, $4, $5, $6, $7, $8, $9, $10, $2)
RETURNING {DATABASE}"""


async def land(
    conn: Conn, twin_id: DatabaseId, database: Database, after: Terms, seat: Seat, now: datetime
) -> Database:
    """The row for the slot that `twin_id` just took. Raises AlreadyThere where that server has one of its name."""
    row = await conn.fetchrow(
        LAND, twin_id, now, database.id, after.server_type, after.plan_tier, database.template, seat.server_id, seat.rank,
        database.name, database.owner_role,
    )  # fmt: skip
    return _changed(row)


KEPT_ON = f"""
SELECT {DATABASE} FROM databases d
WHERE d.twin_of = $1 AND d.status = 'released' AND d.server_id = $2 AND (d.lease_until IS NULL OR d.lease_until <= $3)
FOR UPDATE"""


async def kept_on(conn: Conn, database_id: DatabaseId, server_id: ServerId, now: datetime) -> Database | None:
    """What this database left on that server, locked. None: nothing, or it is just being dropped."""
    row = await conn.fetchrow(KEPT_ON, database_id, server_id, now)
    return database_of(row) if row else None


KEPT_BY = "SELECT EXISTS (SELECT FROM databases WHERE twin_of = $1 AND server_id = $2 AND status = 'released')"


async def kept_by(conn: Conn, database_id: DatabaseId, server_id: ServerId) -> bool:
    """Whether this database left something there."""
    return await conn.fetchval(KEPT_BY, database_id, server_id) is True


KEPT_SOMEWHERE = f"""
SELECT d.server_id FROM databases d JOIN servers s ON s.id = d.server_id
WHERE d.twin_of = $1 AND d.status = 'released' AND s.server_type = 'shared' AND {OPEN} ORDER BY d.rank LIMIT 1"""


async def kept_somewhere(conn: Conn, database_id: DatabaseId) -> ServerId | None:
    """An open shared server that this database left something on. None: there is none."""
    found: ServerId | None = await conn.fetchval(KEPT_SOMEWHERE, database_id)
    return found


LAND_AGAIN = f"""
UPDATE databases d SET status = 'landing', status_since = $2, due_at = NULL,
  version = d.version + 1
WHERE d.id = $1 RETURNING {DATABASE}"""


async def land_again(conn: Conn, twin_id: DatabaseId, now: datetime) -> Database:
    """It goes back to where it came from; for a row that is locked. Until when it was to be kept stays written."""
    return _changed(await conn.fetchrow(LAND_AGAIN, twin_id, now))


CALL = "UPDATE databases SET physical_name = $2, version = version + 1 WHERE id = $1"


async def call(conn: Conn, twin_id: DatabaseId, staging: str) -> None:
    """What this attempt is called on the target."""
    await conn.execute(CALL, twin_id, staging)


GIVE_BACK = f"""
UPDATE databases d SET status = 'purged', status_since = $2, due_at = $2, attempts = 0, version = d.version + 1
WHERE d.id = $1 AND d.status = 'landing' RETURNING {DATABASE}"""


async def give_back(conn: Conn, twin_id: DatabaseId, now: datetime) -> Database | None:
    """The seat on the target, with what may be there. None: it was taken away before."""
    row = await conn.fetchrow(GIVE_BACK, twin_id, now)
    return database_of(row) if row else None


KEEP_ON = f"""
UPDATE databases d SET status = 'released', status_since = $2, released_at = $2, purge_after = $3, due_at = $3,
  version = d.version + 1
WHERE d.id = $1 AND d.status = 'landing' RETURNING {DATABASE}"""


async def keep_on(conn: Conn, twin_id: DatabaseId, now: datetime, until: datetime) -> Database | None:
    """It does not go back after all. None: the seat was taken away before."""
    row = await conn.fetchrow(KEEP_ON, twin_id, now, until)
    return database_of(row) if row else None


STALE_OF = "SELECT DISTINCT unnest(stale) AS name FROM moves WHERE twin_id = $1"


async def stale_of(conn: Conn, twin_id: DatabaseId) -> list[str]:
    """What attempts that were given up were called on this twin's server."""
    return [row["name"] for row in await conn.fetch(STALE_OF, twin_id)]


END_KEEPING = """
UPDATE databases SET purge_after = $2, due_at = $2, version = version + 1
WHERE twin_of = $1 AND status = 'released' AND purge_after > $2"""


async def end_keeping(conn: Conn, database_id: DatabaseId, now: datetime) -> None:
    """What a database left behind is kept no longer than its data."""
    await conn.execute(END_KEEPING, database_id, now)


def _changed(row: asyncpg.Record | None) -> Database:
    """Of a row that is locked, or just made."""
    if row is None:
        raise LookupError("a row vanished under its lock")
    return database_of(row)


BACK_TO = f"""
SELECT {MOVE} FROM moves m
WHERE m.operation_id = $1 AND m.phase = 'done'
  AND NOT EXISTS (SELECT FROM moves n WHERE n.database_id = m.database_id AND n.phase = 'done' AND n.switched_at > m.switched_at)
ORDER BY m.ordinal DESC"""


async def last_of(conn: Conn, operation_id: OperationId) -> list[Move]:
    """Its moves that nothing has moved since, the last one first."""
    return [move_of(row) for row in await conn.fetch(BACK_TO, operation_id)]
