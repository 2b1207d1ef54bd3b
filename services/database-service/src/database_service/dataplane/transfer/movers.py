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
    AdminSessions,
    Connection,
    OnStatement,
    Patience,
    Session,
    connect,
    farewell,
    speaking_of,
)
from database_service.domain.errors import NameTaken
from database_service.domain.tenancy import Admin, LoginSpec

PATIENCE = Patience(statement=timedelta(hours=6))
"""A statement over the rows of one table takes as long as there are rows."""

READS_ALL = "pg_read_all_data"
"""An owner may take rights from itself, and its data has to come along nevertheless."""

# Texts that are compared must not depend on what a tenant has set for its database.
_READING = SETTINGS | {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "lc_monetary": "C",
    "xmloption": "content",
    "row_security": "off",
    "default_transaction_read_only": "on",
    "statement_timeout": "0",
    "jit": "off",
}

_WRITING = SETTINGS | {"statement_timeout": "0", "client_min_messages": "error"}

_LOOK = """
SELECT (now() + interval '1 day')::text AS until, EXISTS (SELECT FROM pg_authid WHERE rolname::text = $1) AS there,
       EXISTS (SELECT FROM pg_authid WHERE rolname::text = $1 AND NOT rolsuper
                 AND shobj_description(oid, 'pg_authid') = $2) AS ours
"""


async def admit(session: Session, mover: str, verifier: str, database: str, lenders: Sequence[str]) -> None:
    """The mover can enter this database for a day, and may what these roles may.

    Sessions it had are ended: they are a dead attempt's.
    """
    found = await session.row(_LOOK, mover, ddl.MOVER_MARK)
    if found["there"] and not found["ours"]:
        raise _not_ours(mover)
    make = ddl.renew_mover if found["there"] else ddl.create_mover
    lent = (ddl.lend(role, mover) for role in (*lenders, READS_ALL))
    await session.run(ddl.joined((make(mover, verifier, found["until"]), *lent, ddl.unlimit_database(database))))
    await ending.end_sessions(session, (), (mover,))


async def silence(session: Session, mover: str) -> None:
    """Nothing is done in its name any more, until it is admitted again."""
    found = await session.row(_LOOK, mover, ddl.MOVER_MARK)
    if found["ours"]:
        await roles.shut_out(session, mover)


async def dismiss(sessions: AdminSessions, admin: Admin, mover: str) -> None:
    """See Transfers.dismiss."""
    async with sessions.on(admin) as session:
        found = await session.row(_LOOK, mover, ddl.MOVER_MARK)
        if found["there"] and not found["ours"]:
            raise _not_ours(mover)
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
        conn = await connect(as_mover(admin, mover), PATIENCE, database, _READING)
    try:
        yield Reader(admin, conn)
    finally:
        await farewell(conn)


async def analyze(admin: Admin, mover: LoginSpec, database: str, on_statement: OnStatement) -> None:
    """Expressions of indexes are looked at as well, so not even this is done by a superuser."""
    with speaking_of(admin):
        conn = await connect(as_mover(admin, mover), PATIENCE, database, _WRITING)
        try:
            await Session(conn, on_statement).run(ddl.analyze())
        finally:
            await farewell(conn)


def as_mover(admin: Admin, mover: LoginSpec) -> Admin:
    """The same server, by another login."""
    return replace(admin, user=mover.role, password=mover.password)


def _not_ours(mover: str) -> NameTaken:
    return NameTaken(f"A role {mover!r} is on the server and is not a mover of ours.")
