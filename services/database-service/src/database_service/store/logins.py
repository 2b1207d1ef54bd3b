"""Rows of `logins`."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from database_service.domain.databases import Login
from database_service.domain.ids import DatabaseId, LoginId, ServerId
from database_service.domain.plans import Tier
from database_service.store.pool import Conn
from database_service.store.rows import LOGIN, login_of

# Which login is the newest is told by these times. Clocks of two machines differ, and one may be put back: so a login is
# always younger than those there are, whatever its maker's clock says.
INSERT = f"""
INSERT INTO logins AS l (id, database_id, role, password_sealed, state, overlap, request_key, created_at)
SELECT $1::uuid, $2::uuid, $3, $4::bytea, 'pending', $5::interval, $6,
  greatest($7::timestamptz, max(o.created_at) + interval '1 microsecond')
FROM logins o WHERE o.database_id = $2
ON CONFLICT (database_id, request_key) DO NOTHING
RETURNING {LOGIN}"""


async def insert(
    conn: Conn,
    *,
    login_id: LoginId,
    database_id: DatabaseId,
    role: str,
    password_sealed: bytes,
    now: datetime,
    overlap: timedelta = timedelta(),
    request_key: str | None = None,
) -> Login | None:
    """A login to be made. None where this `request_key` already asked for one."""
    row = await conn.fetchrow(INSERT, login_id, database_id, role, password_sealed, overlap, request_key, now)
    return login_of(row) if row else None


ALIVE = f"SELECT {LOGIN} FROM logins l WHERE l.database_id = $1 AND l.state <> 'dropped' ORDER BY l.created_at, l.id"


async def alive(conn: Conn, database_id: DatabaseId) -> list[Login]:
    """The logins that work or are to be made, the oldest first."""
    return [login_of(row) for row in await conn.fetch(ALIVE, database_id)]


BY_REQUEST_KEY = f"SELECT {LOGIN} FROM logins l WHERE l.database_id = $1 AND l.request_key = $2"


async def by_request_key(conn: Conn, database_id: DatabaseId, key: str) -> Login | None:
    row = await conn.fetchrow(BY_REQUEST_KEY, database_id, key)
    return login_of(row) if row else None


ACTIVATE = "UPDATE logins SET state = 'active' WHERE database_id = $1 AND id = ANY($2::uuid[])"


async def activate(conn: Conn, database_id: DatabaseId, login_ids: Sequence[LoginId]) -> None:
    await conn.execute(ACTIVATE, database_id, list(login_ids))


EXPIRE_OLDER = """
UPDATE logins o SET expires_at = least(o.expires_at, $2::timestamptz + n.overlap) FROM logins n
WHERE n.id = $1 AND o.database_id = n.database_id AND o.id <> n.id AND o.state = 'active'
  AND o.created_at <= n.created_at"""


async def expire_older(conn: Conn, login_id: LoginId, now: datetime) -> None:
    """This login works from now on: those before it end after its overlap."""
    await conn.execute(EXPIRE_OLDER, login_id, now)


DROP = "UPDATE logins SET state = 'dropped' WHERE id = $1"


async def drop(conn: Conn, login_id: LoginId) -> None:
    await conn.execute(DROP, login_id)


DROP_ALL = "UPDATE logins SET state = 'dropped' WHERE database_id = $1"


async def drop_all(conn: Conn, database_id: DatabaseId) -> None:
    await conn.execute(DROP_ALL, database_id)


TIERS_ON = """
SELECT l.role, d.plan_tier FROM logins l JOIN databases d ON d.id = l.database_id
WHERE d.server_id = $1 AND d.status IN ('ready', 'spare') AND l.state = 'active'"""


async def tiers_on(conn: Conn, server_id: ServerId) -> dict[str, Tier]:
    """The plan of every login role on this server."""
    return {row["role"]: Tier(row["plan_tier"]) for row in await conn.fetch(TIERS_ON, server_id)}
