"""Rows that are made again from what servers keep."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from database_service.domain.databases import Status
from database_service.domain.ids import RECOVERY, DatabaseId, InstanceId, ServerId
from database_service.domain.recovery import Known
from database_service.domain.servers import Server
from database_service.store.pool import Conn
from database_service.store.register import DATABASE_COLUMNS, SERVER_COLUMNS
from database_service.store.rows import SERVER, server_of

KNOWN = """
SELECT d.id, d.status, d.instance_id, d.server_id, d.name, d.owner_role, d.version, d.due_at IS NULL AS held,
  d.twin_of IS NOT NULL AS twin,
  coalesce(array_agg(l.role) FILTER (WHERE l.state = 'active'), '{}') AS logins
FROM databases d LEFT JOIN logins l ON l.database_id = d.id
WHERE d.status <> 'purged' GROUP BY d.id"""


async def known(conn: Conn) -> list[Known]:
    """Every database that is not purged."""
    return [
        Known(
            id=row["id"],
            status=Status(row["status"]),
            instance_id=row["instance_id"],
            server_id=row["server_id"],
            name=row["name"],
            owner_role=row["owner_role"],
            version=row["version"],
            held=row["held"],
            twin=row["twin"],
            logins=frozenset(row["logins"]),
        )
        for row in await conn.fetch(KNOWN)
    ]


# -- servers ----------------------------------------------------------------------------------------------------------

_SERVER = ", ".join((*SERVER_COLUMNS, "status", "status_since", "due_at", "updated_at"))

ADD_SERVER = f"""
INSERT INTO servers AS s ({_SERVER}) SELECT {_SERVER} FROM jsonb_populate_record(NULL::servers, $1)
ON CONFLICT DO NOTHING RETURNING {SERVER}"""


async def add_server(conn: Conn, told: Mapping[str, Any], now: datetime) -> Server | None:
    """A server that is there already: it is opened again, and never made. None where there is a row of its id or its name."""
    at = now.isoformat()
    row = await conn.fetchrow(
        ADD_SERVER, dict(told) | {"status": "initializing", "status_since": at, "due_at": at, "updated_at": at}
    )
    if row is None or not told.get("certificate"):
        return server_of(row) if row else None
    await conn.executemany(ADD_AUTHORITY, [(authority,) for authority in told["authorities"]])
    await conn.execute(ADD_CERTIFICATE, told["certificate"])
    again = await conn.fetchrow(AGAIN, row["id"])
    return server_of(again) if again else None


# A control plane that began anew may have made an authority before it was told to look around: those that servers remember come
# after it, and vouch again from then on, as their clients trust them already.
ADD_AUTHORITY = """
INSERT INTO authorities
SELECT told.id, CASE WHEN EXISTS (SELECT FROM authorities WHERE generation = told.generation)
                     THEN (SELECT max(generation) + 1 FROM authorities) ELSE told.generation END,
  told.certificate, told.key_sealed, told.issues_from, told.created_at
FROM jsonb_populate_record(NULL::authorities, $1) AS told ON CONFLICT (id) DO NOTHING"""

ADD_CERTIFICATE = """
INSERT INTO certificates SELECT * FROM jsonb_populate_record(NULL::certificates, $1) ON CONFLICT DO NOTHING"""

AGAIN = f"SELECT {SERVER} FROM servers s WHERE s.id = $1"

LEARN_PASSWORD = f"""
UPDATE servers s SET admin_password_sealed = $2, admin_password_version = $3, admin_password_next = NULL, due_at = $4,
  updated_at = $4, version = s.version + 1
WHERE s.id = $1 AND s.status <> 'gone' RETURNING {SERVER}"""


async def learn_password(conn: Conn, server_id: ServerId, sealed: bytes, version: int, now: datetime) -> Server | None:
    """The administrator's password that the server has by now."""
    row = await conn.fetchrow(LEARN_PASSWORD, server_id, sealed, version, now)
    return server_of(row) if row else None


WIDEN = f"UPDATE servers s SET max_instances = s.max_instances + 1, version = s.version + 1 WHERE s.id = $1 RETURNING {SERVER}"


async def widen(conn: Conn, server_id: ServerId) -> Server | None:
    """One more has its seat there than was thought."""
    row = await conn.fetchrow(WIDEN, server_id)
    return server_of(row) if row else None


# -- databases --------------------------------------------------------------------------------------------------------

_MORE = ("server_id", "rank", "physical_name", "status_since", "due_at", "version")
_DATABASE = ", ".join((*DATABASE_COLUMNS, *_MORE))
_ANEW = ", ".join(f"{name} = excluded.{name}" for name in (*DATABASE_COLUMNS, *_MORE) if name != "id")

ADOPT = f"""
INSERT INTO databases AS d ({_DATABASE}) SELECT {_DATABASE} FROM jsonb_populate_record(NULL::databases, $1)
ON CONFLICT (id) DO UPDATE SET {_ANEW}, lease_until = NULL, lease_token = NULL, attempts = 0, last_error = NULL"""


async def adopt(conn: Conn, told: Mapping[str, Any]) -> None:
    """The row as it is told, made or made anew."""
    await conn.execute(ADOPT, dict(told))


MAKE_WAY = """
WITH others AS (
  SELECT id, status FROM databases WHERE server_id = $1 AND owner_role = $2 AND id <> $3
), freed AS (
  UPDATE slots SET database_id = NULL WHERE database_id IN (SELECT id FROM others)
), noted AS (
  INSERT INTO events (at, actor, action, subject, subject_id, before, after, why)
  SELECT $4, $5, 'database.forgotten', 'database', id, status, 'purged', 'what is there is the database itself' FROM others
)
UPDATE databases SET status = 'purged', status_since = $4, server_id = NULL, physical_name = NULL, due_at = NULL, name = id::text,
  lease_until = NULL, lease_token = NULL, version = version + 1
WHERE id IN (SELECT id FROM others)"""


async def make_way(conn: Conn, database_id: DatabaseId, server_id: ServerId, owner_role: str, now: datetime) -> None:
    """The one database of this role there is this one: another row that points to it would have it deleted one day."""
    await conn.execute(MAKE_WAY, server_id, owner_role, database_id, now, RECOVERY)


FORGET_WAITING = "DELETE FROM databases WHERE instance_id = $1 AND status = 'waiting'"


async def forget_waiting(conn: Conn, instance_id: InstanceId) -> None:
    """It holds nothing, and what it waited for is there."""
    await conn.execute(FORGET_WAITING, instance_id)


TURN = """
UPDATE databases SET status = $3, status_since = $4, due_at = $4, released_at = $5, purge_after = $6, version = version + 1,
  lease_until = NULL, lease_token = NULL
WHERE id = $1 AND version = $2"""


async def turn(conn: Conn, row: Known, status: Status, now: datetime, purge_after: datetime | None) -> bool:
    """False where the row changed meanwhile."""
    released_at = now if status is Status.RELEASED else None
    return await conn.execute(TURN, row.id, row.version, status, now, released_at, purge_after) != "UPDATE 0"


WAKE = "UPDATE databases SET due_at = $3, version = version + 1 WHERE id = $1 AND version = $2"


async def wake(conn: Conn, row: Known, now: datetime) -> None:
    """It is looked at again, from now on."""
    await conn.execute(WAKE, row.id, row.version, now)


DROP_ABSENT_LOGINS = """
UPDATE logins SET state = 'dropped' WHERE database_id = $1 AND state <> 'dropped' AND role <> ALL ($2::text[])
"""


async def drop_absent_logins(conn: Conn, database_id: UUID, there: frozenset[str]) -> None:
    """A login that was ended does not come to life again."""
    await conn.execute(DROP_ABSENT_LOGINS, database_id, sorted(there))


RANK = "SELECT rank FROM slots WHERE database_id = $1 AND server_id = $2"


async def rank(conn: Conn, database_id: DatabaseId, server_id: ServerId) -> int | None:
    """Of the slot it has there. None: it has none."""
    found: int | None = await conn.fetchval(RANK, database_id, server_id)
    return found


UNCORDON = f"""
UPDATE servers s SET cordoned = false, cordon_reason = NULL, version = s.version + 1, updated_at = $3
WHERE s.id = $1 AND s.cordoned AND s.cordon_reason = $2 RETURNING {SERVER}"""


async def uncordon(conn: Conn, server_id: ServerId, reason: str, now: datetime) -> Server | None:
    """It takes databases again. None: it did, or it was closed for another reason."""
    row = await conn.fetchrow(UNCORDON, server_id, reason, now)
    return server_of(row) if row else None
