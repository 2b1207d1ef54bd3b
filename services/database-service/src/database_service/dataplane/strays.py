"""What is ours on a server by its marks, whether a row knows it or not, and the end of what no row knows.

A database is ours when a role that carries OWNER_MARK owns it: whatever its name, somebody else's never is. Only a superuser
can write that mark, and no tenant can give a database away.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from database_service.dataplane import ddl, roles
from database_service.dataplane.connect import MAINTENANCE_DATABASE, AdminSessions, Session
from database_service.dataplane.dropping import drop_databases
from database_service.domain.errors import NameTaken
from database_service.domain.tenancy import Admin, OurDatabase, OurRole, Ours

_IS_OWNER = "NOT r.rolsuper AND NOT r.rolcanlogin AND shobj_description(r.oid, 'pg_authid') = $1"
_IS_OURS = f"({_IS_OWNER} OR NOT r.rolsuper AND shobj_description(r.oid, 'pg_authid') = ANY ($2::text[]))"

_OTHER_MARKS = [ddl.LOGIN_MARK, ddl.MOVER_MARK]

_DATABASES = f"""
SELECT d.datname::text AS name, d.oid::int8 AS oid, r.rolname::text AS owner
FROM pg_database d JOIN pg_authid r ON r.oid = d.datdba WHERE {_IS_OWNER} ORDER BY name
"""

_ROLES = f"""
SELECT r.rolname::text AS name, r.oid::int8 AS oid,
       ARRAY(SELECT datname::text FROM pg_database WHERE datdba = r.oid ORDER BY datname) AS owns
FROM pg_authid r WHERE {_IS_OURS} ORDER BY name
"""

_DIRECTORIES = "SELECT name FROM pg_ls_dir('base') AS name WHERE name ~ '^[0-9]+$'"

_BUSY = """
SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'relation' AND relation = 'pg_database'::regclass
                 AND mode = 'RowExclusiveLock')
"""
"""CREATE and DROP DATABASE hold this lock from before they touch files until they are committed or undone."""

_OIDS = "SELECT oid::text AS oid FROM pg_database"


async def ours(session: Session) -> Ours:
    """See Tenants.ours."""
    databases = await session.rows(_DATABASES, ddl.OWNER_MARK)
    marked = await session.rows(_ROLES, ddl.OWNER_MARK, _OTHER_MARKS)
    unknown, busy = await _unknown_directories(session)
    return Ours(
        databases=tuple(OurDatabase(row["name"], row["oid"], row["owner"]) for row in databases),
        roles=tuple(OurRole(row["name"], row["oid"], tuple(row["owns"])) for row in marked),
        files=frozenset() if busy else unknown,
        files_unsettled=unknown if busy else frozenset(),
    )


async def _unknown_directories(session: Session) -> tuple[frozenset[str], bool]:
    """Directories of no database, and whether somebody is making or dropping one.

    In this order: whoever made one of these directories is still at it, or has committed what the last query sees.
    """
    there = {row["name"] for row in await session.rows(_DIRECTORIES)}
    busy = await session.row(_BUSY)
    return frozenset(there - {row["oid"] for row in await session.rows(_OIDS)}), busy[0]


# -- the end of strays ------------------------------------------------------------------------------------------------

_ALONE = "SELECT pg_advisory_lock(hashtext('database-service: strays'))"

_DATABASE_IS_OURS = f"""
SELECT EXISTS (SELECT FROM pg_database d JOIN pg_authid r ON r.oid = d.datdba
               WHERE d.datname::text = $2 AND d.oid = $3::int8::oid AND {_IS_OWNER})
"""

_OWNS = f"""
SELECT ARRAY(SELECT datname::text FROM pg_database WHERE datdba = r.oid ORDER BY datname) AS databases
FROM pg_authid r WHERE r.rolname::text = $3 AND r.oid = $4::int8::oid AND {_IS_OURS}
"""


async def drop_database(sessions: AdminSessions, admin: Admin, name: str, oid: int) -> None:
    """See Tenants.drop_stray_database."""
    async with _alone(sessions, admin) as session:
        if (await session.row(_DATABASE_IS_OURS, ddl.OWNER_MARK, name, oid))[0]:
            await drop_databases(session, (name,))


async def drop_role(sessions: AdminSessions, admin: Admin, role: str, oid: int) -> None:
    """See Tenants.drop_stray_role."""
    async with _alone(sessions, admin) as session:
        for found in await session.rows(_OWNS, ddl.OWNER_MARK, _OTHER_MARKS, role, oid):
            if found["databases"]:
                raise NameTaken(f"The role {role!r} still owns the database {found['databases'][0]!r}.")
            await roles.shut_out(session, role)
            await roles.forget(sessions, session, admin, role)


@asynccontextmanager
async def _alone(sessions: AdminSessions, admin: Admin) -> AsyncIterator[Session]:
    """From the look to the end nobody else is at it: a second one would look before the first one's DROP, and with its own
    meet whoever was given the name meanwhile. The lock goes with this connection."""
    async with sessions.inside(admin, MAINTENANCE_DATABASE) as session:
        await session.row(_ALONE)
        yield session
