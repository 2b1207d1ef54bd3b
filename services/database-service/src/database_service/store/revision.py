"""Which revision our own database is at, asked without Alembic: servers look at it each time they start."""

import asyncio
import time
from pathlib import Path

import asyncpg

from database_service.domain.errors import ControlDatabaseUnavailable
from database_service.store.pool import AWAY

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_LOOK_AGAIN_S = 1.0

STAMPED = "SELECT to_regclass('alembic_version') IS NOT NULL"
REVISION = "SELECT version_num FROM alembic_version"


def needed() -> str:
    """The revision this version works with: the newest it brings. Their ids count up."""
    return max(script.name.partition("_")[0] for script in _VERSIONS.glob("*.up.sql"))


async def revision(dsn: str) -> str | None:
    """The revision the database has; None before the first. Raises ControlDatabaseUnavailable."""
    try:
        conn = await asyncpg.connect(dsn, timeout=5, command_timeout=5)
        try:
            # Asked first, because a statement that fails would be in the server's log each time.
            found: str | None = await conn.fetchval(REVISION) if await conn.fetchval(STAMPED) else None
        finally:
            await conn.close()
    except AWAY as e:
        raise ControlDatabaseUnavailable from e
    return found


async def awaited(dsn: str, patience_s: float) -> bool:
    """Whether the schema is, within this time, what this version needs, or newer: one that is rolled back meets that."""
    deadline = time.monotonic() + patience_s
    while not await _will_do(dsn):
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_LOOK_AGAIN_S)  # noqa: TID251  nothing tells when a schema is there
    return True


async def _will_do(dsn: str) -> bool:
    try:
        found = await revision(dsn)
    except ControlDatabaseUnavailable:
        return False
    return found is not None and found >= needed()
