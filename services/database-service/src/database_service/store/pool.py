"""Db: our own database. Short transactions in, values out, driver errors translated once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from database_service.domain.errors import ControlDatabaseUnavailable

Conn: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

CONNECT_S = 5.0
ACQUIRE_S = 5.0
"""How long a request waits for a connection while others have all of them."""
STATEMENT_S = 15.0
LOCK_S = 5.0

AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,  # 08: the connection is lost or was refused
    asyncpg.InsufficientResourcesError,  # 53: no memory, disk or connection is left
    asyncpg.OperatorInterventionError,  # 57: it shuts down, starts up, or ended our statement
    asyncpg.PostgresSystemError,  # 58: its disk fails it
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the driver was cut off in the middle of an answer
)
"""What says 'not now' about our own database; everything else is a defect and stays loud."""

PLANNED_ANEW = "SET LOCAL plan_cache_mode = force_custom_plan"
"""Planned for the very values: else what is not asked for would keep an index from being used for what is."""


class Db:
    """A pool of connections to our own database. Every method raises ControlDatabaseUnavailable when it is away."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", acquire_timeout_s: float = ACQUIRE_S) -> None:
        self._pool = pool
        self._acquire_timeout_s = acquire_timeout_s

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Conn]:
        """For one statement that is its own transaction."""
        try:
            async with self._pool.acquire(timeout=self._acquire_timeout_s) as conn:
                yield conn
        except AWAY as e:
            raise ControlDatabaseUnavailable from e

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Conn]:
        """Read and write; committed at the end, rolled back by any exception."""
        async with self.connection() as conn, conn.transaction():
            yield conn

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Conn]:
        """READ ONLY and consistent: several SELECTs see one moment."""
        async with self.connection() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            yield conn

    async def row(self, select: str, *arguments: object) -> "asyncpg.Record | None":
        """The first row of one SELECT, in one round trip where `reading` takes three. What begins so changes no row."""
        if not select.lstrip().startswith("SELECT"):
            raise ValueError("only a SELECT is sure to be one")
        async with self.connection() as conn:
            return await conn.fetchrow(select, *arguments)


async def open_pool(dsn: str, *, least: int, most: int, application: str) -> "asyncpg.Pool[asyncpg.Record]":
    """A pool for `Db`. It opens also while the database is away: connections are made when first needed."""
    pool: asyncpg.Pool[asyncpg.Record] = asyncpg.create_pool(
        dsn,
        min_size=least,
        max_size=most,
        timeout=CONNECT_S,
        command_timeout=STATEMENT_S,
        max_inactive_connection_lifetime=300,
        init=_prepare,
        reset=_nothing_to_reset,
        server_settings={
            "application_name": application,
            "statement_timeout": f"{STATEMENT_S:.0f}s",
            "idle_in_transaction_session_timeout": f"{STATEMENT_S:.0f}s",
            "lock_timeout": f"{LOCK_S:.0f}s",
            "timezone": "UTC",
            "jit": "off",
        },
    )
    try:
        await pool
    except AWAY as e:
        await pool.close()
        raise ControlDatabaseUnavailable from e
    return pool


async def _prepare(conn: "asyncpg.Connection[Any]") -> None:
    import json  # noqa: PLC0415  only where a codec is made

    await conn.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _nothing_to_reset(_: object) -> None:
    """Sessions carry no state from one use to the next (settings and locks are a transaction's), so giving one back is free."""
