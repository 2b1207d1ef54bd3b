"""Bring our own database to the newest revision: whoever first uses it does."""

import ssl
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from instance_service.domain.errors import OwnDatabaseUnavailable

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_LOCK = 0x696E735F6D696772  # "ins_migr": the same number for everybody who migrates
_STAMPED = "SELECT to_regclass('alembic_version') IS NOT NULL"
_REVISION = "SELECT version_num FROM alembic_version"


def needed() -> str:
    """The revision this version works with: the newest it brings. Their ids count up."""
    return max(script.name.partition("_")[0] for script in _VERSIONS.glob("*.up.sql"))


async def migrate(dsn: str, to: str = "head", trust: ssl.SSLContext | None = None) -> None:
    """Go to this revision, in one transaction that nobody else migrates beside: a second one waits, and finds it done.
    `trust` is whom to talk to, where the server speaks TLS.

    A database that is newer than we are is left as it is: a version that is rolled back meets that. Raises what asyncpg raises
    for a database that is away, and OwnDatabaseUnavailable where it goes away meanwhile.
    """
    if to == "head" and (await _revision(dsn, trust) or "") >= needed():
        return
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(dsn, timeout=10, ssl=trust), poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            await connection.run_sync(_go, to)
    except DBAPIError as e:
        if e.connection_invalidated:
            raise OwnDatabaseUnavailable("it went away while it was migrated") from e
        raise
    finally:
        await engine.dispose()


async def _revision(dsn: str, trust: ssl.SSLContext | None) -> str | None:
    conn = await asyncpg.connect(dsn, timeout=5, command_timeout=5, ssl=trust)
    try:
        # Asked first, because a statement that fails would be in the server's log each time.
        found: str | None = await conn.fetchval(_REVISION) if await conn.fetchval(_STAMPED) else None
    finally:
        await conn.close()
    return found


def _go(connection: Connection, to: str) -> None:
    config = Config()
    config.set_main_option("script_location", "instance_service.store:migrations")
    config.attributes["connection"] = connection
    (command.downgrade if to == "base" else command.upgrade)(config, to)
