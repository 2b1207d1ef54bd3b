"""Taking a server over: PUBLIC loses what it has by default, and our templates are made. And the look at it before."""

from collections.abc import Iterator, Sequence

import asyncpg

from database_service.dataplane import ddl, register
from database_service.dataplane.connect import MAINTENANCE_DATABASE, AdminSessions, Session
from database_service.dataplane.probe import short_version
from database_service.domain import naming
from database_service.domain.errors import NameTaken
from database_service.domain.tenancy import Admin, Inventory

SHARED_DATABASES = (MAINTENANCE_DATABASE, "template1")


async def harden(sessions: AdminSessions, admin: Admin, templates: Sequence[str]) -> None:
    """See Tenants.harden. Every step may be repeated, and a template that is not sealed was not finished."""
    async with sessions.on(admin) as session:
        await session.run(*map(ddl.close_to_public, SHARED_DATABASES))
        await register.make(session)
        await _restrict_catalogs(session)
        async with sessions.inside(admin, "template1") as inside:
            await _restrict_catalogs(inside)
        for template in templates:
            await _ensure_template(sessions, session, admin, naming.template_database(template))


async def _restrict_catalogs(session: Session) -> None:
    statements = await session.row(ddl.RESTRICT_CATALOGS)
    await session.run(ddl.restrict_catalogs(statements[0]))


_TEMPLATE = """
SELECT datallowconn, (SELECT rolsuper FROM pg_authid WHERE oid = datdba) AS ours
FROM pg_database WHERE datname::text = $1
"""


async def _ensure_template(sessions: AdminSessions, session: Session, admin: Admin, name: str) -> None:
    found = await session.rows(_TEMPLATE, name)
    if found and not found[0]["ours"]:
        raise NameTaken(f"A database {name!r} is on the server and is not ours.")
    if found and not found[0]["datallowconn"]:
        return
    if not found:
        await session.run(ddl.clone_pristine(name))
    await session.run(ddl.close_to_public(name))
    async with sessions.inside(admin, name) as inside:
        await _restrict_catalogs(inside)
    await session.run(ddl.seal_template(name))


# -- before -----------------------------------------------------------------------------------------------------------

_SERVER = """
SELECT current_setting('server_version') AS version, current_setting('max_connections')::int AS max_connections,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
       ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname) AS roles,
       has_table_privilege('public', 'pg_catalog.pg_db_role_setting', 'SELECT') AS settings_shown,
       to_regnamespace('dbs_register') IS NULL AS unregistered
"""

_DATABASES = """
SELECT datname::text AS name,
       coalesce(CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) END, 0) AS bytes,
       datallowconn AND has_database_privilege('public', oid, 'CONNECT') AS open
FROM pg_database ORDER BY datname
"""

_LOSERS = """
SELECT rolname::text AS role FROM pg_roles
WHERE rolcanlogin AND NOT rolsuper AND has_database_privilege(rolname, $1::text, 'CONNECT')
  AND NOT EXISTS (SELECT FROM pg_database, aclexplode(datacl) AS acl
                  WHERE datname::text = $1 AND privilege_type = 'CONNECT' AND acl.grantee <> 0
                    AND pg_has_role(pg_roles.oid, acl.grantee, 'USAGE'))
ORDER BY rolname
"""
"""Logins that reach a database only because PUBLIC does."""


async def inventory(session: Session) -> Inventory:
    """See Tenants.inventory. Reads only."""
    server = await session.row(_SERVER)
    databases = await session.rows(_DATABASES)
    return Inventory(
        postgres_version=short_version(server["version"]),
        max_connections=server["max_connections"],
        superuser=server["superuser"],
        databases={row["name"]: row["bytes"] for row in databases},
        roles=server["roles"],
        changes=[
            *[
                await _closing(session, row["name"])
                for row in databases
                if row["open"] and row["name"] in SHARED_DATABASES
            ],
            *_catalogs(server),
            *_register(server),
            *_staying_open(databases),
        ],
    )


async def _closing(session: Session, name: str) -> str:
    losers = [row["role"] for row in await session.rows(_LOSERS, name)]
    affected = f"affects roles: {', '.join(losers)}" if losers else "affects no role"
    return f"CONNECT and TEMPORARY on database {name} are taken from PUBLIC ({affected})."


def _catalogs(server: asyncpg.Record) -> Iterator[str]:
    if server["settings_shown"]:
        yield "Settings of roles (pg_db_role_setting, rolconfig) are hidden from PUBLIC in postgres and template1."
        yield "Everything on schema public of postgres and template1 is taken from PUBLIC."


def _register(server: asyncpg.Record) -> Iterator[str]:
    if server["unregistered"]:
        yield "A schema dbs_register is made in database postgres: it keeps whose the databases here are, for superusers alone."


def _staying_open(databases: Sequence[asyncpg.Record]) -> Iterator[str]:
    names = {row["name"] for row in databases}
    template = naming.template_database("default")
    if template not in names:
        yield f"The template {template} is made."
    for row in databases:
        if row["open"] and row["name"] not in (*SHARED_DATABASES, template):
            yield f"Database {row['name']} is not changed: PUBLIC, and so every new tenant, may still connect to it."
