"""Movers: the roles that dump, restore and read rows, so that no function of a tenant's ever runs as a superuser.

CHECK constraints, index expressions and casts are code of the tenant's, and a restore runs it. A mover may what the tenant may,
and sees every row of it.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import asyncpg

from database_service.dataplane import ddl, ending, roles
from database_service.dataplane.connect import (
    SETTINGS,
    UNBENT,
    AdminSessions,
    Connection,
    OnStatement,
    Patience,
    Session,
    connect_unhurried,
    farewell,
    speaking_of,
)
from database_service.dataplane.dropping import drop_databases
from database_service.domain import naming
from database_service.domain.errors import NameTaken
from database_service.domain.tenancy import Admin, LoginSpec

PATIENCE = Patience(statement=timedelta(hours=6))
"""A statement over the rows of one table takes as long as there are rows."""

_READING = SETTINGS | UNBENT | {"row_security": "off", "default_transaction_read_only": "on", "jit": "off"}

_WRITING = SETTINGS | UNBENT | {"client_min_messages": "error"}

_LOOK = """
SELECT (now() + interval '1 day')::text AS until, EXISTS (SELECT FROM pg_authid WHERE rolname::text = $1) AS there,
       EXISTS (SELECT FROM pg_authid WHERE rolname::text = $1 AND NOT rolsuper
                 AND shobj_description(oid, 'pg_authid') = $2) AS ours,
       ARRAY(SELECT rolname::text FROM pg_authid WHERE rolname::text = ANY ($3::text[]) ORDER BY rolname) AS lenders,
       ARRAY(SELECT name FROM pg_settings WHERE name = 'transaction_timeout') AS timeouts
"""

_UNREADABLE = f"""
WITH mover AS (SELECT oid FROM pg_authid WHERE rolname::text = $1)
SELECT 'SCHEMA %I' AS what, ARRAY[nspname::text] AS names FROM pg_namespace, mover
WHERE pg_has_role(mover.oid, nspowner, 'USAGE') AND NOT has_schema_privilege(mover.oid, pg_namespace.oid, 'USAGE')
UNION ALL
SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE %I.%I' ELSE 'TABLE %I.%I' END, ARRAY[nspname::text, relname::text]
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace, mover
WHERE relkind IN ('r', 'p', 'S') AND relpersistence <> 't' AND c.oid >= {ddl.FIRST_OURS}
  AND pg_has_role(mover.oid, relowner, 'USAGE')
  AND NOT CASE relkind WHEN 'S' THEN has_sequence_privilege(mover.oid, c.oid, 'SELECT')
                       ELSE has_table_privilege(mover.oid, c.oid, 'SELECT') END
UNION ALL
SELECT 'LARGE OBJECT ' || l.oid, ARRAY[]::text[] FROM pg_largeobject_metadata l, mover
WHERE lomacl IS NOT NULL AND pg_has_role(mover.oid, lomowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM aclexplode(lomacl) AS acl WHERE privilege_type = 'SELECT'
                    AND (grantee = 0 OR pg_has_role(mover.oid, grantee, 'USAGE')))
"""
"""What a tenant's roles own and have taken from themselves. It has to come along nevertheless."""


async def admit(session: Session, mover: str, verifier: str, database: str, lenders: Sequence[str]) -> None:
    """The mover can enter this database for a day, and may what those of these roles may that are there.

    Nothing more is ever lent: a tenant's function runs as the mover. Sessions it had are ended: they are a dead attempt's.
    """
    found = await session.row(_LOOK, mover, ddl.MOVER_MARK, list(lenders))
    if found["there"] and not found["ours"]:
        raise _not_ours(mover)
    make = ddl.renew_mover if found["there"] else ddl.create_mover
    lent = (ddl.lend(role, mover) for role in found["lenders"])
    timeless = (ddl.set_for(database, mover, name, "0") for name in found["timeouts"])
    await session.run(
        ddl.joined((
            make(mover, verifier, found["until"]), *lent, ddl.forget_settings(mover, database), *timeless,
            ddl.unlimit_database(database),
        ))
    )  # fmt: skip
    await ending.end_sessions(session, (), (mover,))


async def show(inside: Session, mover: str) -> None:
    """It may read what the tenant's roles own and have taken from themselves, object by object, until it is dismissed."""
    hidden = await inside.rows(_UNREADABLE, mover)
    shown = (ddl.show(row["what"], row["names"], mover) for row in hidden)
    await inside.run(ddl.joined((ddl.hide_settings(mover), *shown)))


async def silence(session: Session, mover: str) -> None:
    """Nothing is done in its name any more, until it is admitted again."""
    found = await session.row(_LOOK, mover, ddl.MOVER_MARK, [])
    if found["ours"]:
        await roles.shut_out(session, mover)


_SHAPE = """
SELECT datname::text AS name FROM pg_database
WHERE datname::text = $1 AND shobj_description(datdba, 'pg_authid') = $2
"""


async def drop_shape(session: Session, mover: str) -> None:
    """The database in which definitions were made again for this mover, if it is there."""
    found = await session.rows(_SHAPE, naming.shape_database(mover), ddl.OWNER_MARK)
    await drop_databases(session, (row["name"] for row in found))


async def dismiss(sessions: AdminSessions, admin: Admin, mover: str) -> None:
    """See Transfers.dismiss."""
    async with sessions.on(admin) as session:
        found = await session.row(_LOOK, mover, ddl.MOVER_MARK, [])
        if found["there"] and not found["ours"]:
            raise _not_ours(mover)
        await drop_shape(session, mover)
        if found["there"]:
            await roles.shut_out(session, mover)
            await roles.forget(sessions, session, admin, mover)


@dataclass(frozen=True, slots=True)
class Reader:
    """A read-only session of the mover's that shows equal rows as equal texts on any server."""

    admin: Admin
    conn: Connection

    async def rows(self, query: str) -> Sequence[asyncpg.Record]:
        with speaking_of(self.admin):
            return await self.conn.fetch(query)


@asynccontextmanager
async def reading(admin: Admin, mover: LoginSpec, database: str) -> AsyncIterator[Reader]:
    with speaking_of(admin):
        conn = await connect_unhurried(as_mover(admin, mover), PATIENCE, database, _READING)
    try:
        yield Reader(admin, conn)
    finally:
        await farewell(conn)


async def analyze(admin: Admin, mover: LoginSpec, database: str, on_statement: OnStatement) -> None:
    """Expressions of indexes are looked at as well, so not even this is done by a superuser."""
    with speaking_of(admin):
        conn = await connect_unhurried(as_mover(admin, mover), PATIENCE, database, _WRITING)
        try:
            await Session(conn, on_statement).run(ddl.analyze())
        finally:
            await farewell(conn)


def as_mover(admin: Admin, mover: LoginSpec) -> Admin:
    """The same server, by another login."""
    return replace(admin, user=mover.role, password=mover.password)


def _not_ours(mover: str) -> NameTaken:
    return NameTaken(f"A role {mover!r} is on the server and is not a mover of ours.")
