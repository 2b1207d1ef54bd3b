"""Our own database as a whole: one moment of it for a backup, and whether there is anything or anybody in it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from database_service.domain.backups import Manifest
from database_service.domain.errors import ControlDatabaseUnavailable
from database_service.store.pool import AWAY, Conn
from database_service.store.revision import REVISION, STAMPED
from database_service.store.sealed import KEY_OF, SEALED

TABLES = """
SELECT relname::text AS name FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'requests' ORDER BY relname"""
"""All that a backup holds: the request log is no part of it."""

COLUMNS = """
SELECT c.relname::text AS table, a.attname::text AS column FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"""

COMPANY = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename IS NOT NULL"""

NAME = "SELECT current_database()"


_LOST = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InterfaceError)
"""What ends a connection that was there; errors of the files that are written meanwhile are not among them."""
_UNHURRIED = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}


@asynccontextmanager
async def connection(dsn: str) -> AsyncIterator[Conn]:
    """One connection with no end to its statements. Raises ControlDatabaseUnavailable."""
    try:
        conn: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(dsn, timeout=10, server_settings=_UNHURRIED)
    except AWAY as e:
        raise ControlDatabaseUnavailable from e
    try:
        yield conn
    except _LOST as e:
        raise ControlDatabaseUnavailable from e
    finally:
        await conn.close(timeout=5)


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of our own database, which others may read under the same `snapshot`."""

    snapshot: str
    revision: str
    rows: Mapping[str, int]
    keys: frozenset[str]
    """Ids of the keys that something is sealed with."""


@asynccontextmanager
async def moment(dsn: str) -> AsyncIterator[Moment]:
    """As it is now, for as long as the context lasts. A database without our schema has the revision `base`."""
    async with connection(dsn) as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        snapshot = await conn.fetchval("SELECT pg_export_snapshot()")
        yield Moment(snapshot, await _revision(conn), await _counted(conn), await _keys(conn))


NOTE = """
INSERT INTO backups (made_at, program, size, sha256) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"""


async def note(dsn: str, manifest: Manifest) -> bool:
    """It was written whole. False where the role may only read, or the schema is older. Raises ControlDatabaseUnavailable."""
    async with connection(dsn) as conn:
        try:
            await conn.execute(NOTE, manifest.made_at, manifest.program, manifest.size, manifest.sha256)
        except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError):
            return False
    return True


async def _revision(conn: Conn) -> str:
    stamped = await conn.fetchval(STAMPED)
    return str(await conn.fetchval(REVISION) or "base") if stamped else "base"


async def _counted(conn: Conn) -> Mapping[str, int]:
    names = [row["name"] for row in await conn.fetch(TABLES)]
    return {name: await conn.fetchval(f'SELECT count(*) FROM public."{name}"') for name in names}


async def _keys(conn: Conn) -> frozenset[str]:
    """Those that open its secrets; columns that an older schema has not got yet hold none. Tokens and signatures that lack their
    key are no reason to refuse a restore."""
    there = {(row["table"], row["column"]) for row in await conn.fetch(COLUMNS)}
    used = [
        await conn.fetch(f"SELECT DISTINCT {KEY_OF.format(value=column.name)} AS id FROM public.{column.table}")
        for column in SEALED
        if (column.table, column.name) in there
    ]
    return frozenset(row["id"] for rows in used for row in rows if row["id"])


@dataclass(frozen=True, slots=True)
class Room:
    """What a restore would meet."""

    name: str
    """Of the database."""
    occupied: tuple[str, ...]
    """Tables with rows, but for the one that tells the revision."""
    company: int
    """Sessions of others."""


async def room(dsn: str) -> Room:
    """Raises ControlDatabaseUnavailable."""
    async with connection(dsn) as conn:
        counted = await _counted(conn)
        occupied = tuple(name for name, rows in counted.items() if rows and name != "alembic_version")
        return Room(await conn.fetchval(NAME), occupied, await conn.fetchval(COMPANY))
