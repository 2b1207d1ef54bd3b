"""Administrators' sessions on tenant servers: few, kept warm, never through a password or address that changed."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from database_service.dataplane import ddl, sqlstates
from database_service.dataplane.ddl import Script
from database_service.dataplane.trust import context_of
from database_service.domain.errors import TenantServerUnavailable
from database_service.domain.ids import ServerId
from database_service.domain.tenancy import Admin

MAINTENANCE_DATABASE = "postgres"
DRIVER_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

# A tenant may put functions in its schemas and settings on its database; neither may bend our session.
SETTINGS = {
    "application_name": "database-service",
    "search_path": "pg_catalog, pg_temp",
    "role": "none",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "idle_session_timeout": "0",
    "quote_all_identifiers": "off",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
    "client_min_messages": "warning",
    "local_preload_libraries": "",
}

UNBENT = {
    "role": "none",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "tcp_user_timeout": "0",
    "quote_all_identifiers": "off",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "lc_monetary": "C",
    "xmloption": "content",
    "bytea_output": "hex",
    "local_preload_libraries": "",
}
"""For those who carry or compare rows: no time runs out, and texts are read as they were written."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


class Moment(StrEnum):
    BEFORE = "before"
    AFTER = "after"


OnStatement = Callable[[Moment, str], None]
"""Called around every effect on a tenant server, with its unfilled template: no names, no secrets."""


def unwatched(_moment: Moment, _template: str) -> None:
    """Nobody wants to know about statements."""


class Raced(TenantServerUnavailable):
    """Someone else changed the same role or database in the same moment: look again."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long we wait: for a connection and login, for one statement, and before an idle session is ended."""

    connect: timedelta = timedelta(seconds=5)
    statement: timedelta = timedelta(seconds=40)
    idle: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Session:
    """One administrator's session. Reads and effects apart: only effects are told to `on_statement`."""

    conn: Connection
    on_statement: OnStatement

    async def row(self, query: str, *args: object) -> asyncpg.Record:
        """The one row of a query that always has one."""
        rows = await self.conn.fetch(query, *args)
        return rows[0]

    async def rows(self, query: str, *args: object) -> Sequence[asyncpg.Record]:
        return await self.conn.fetch(query, *args)

    async def run(self, *scripts: Script) -> None:
        """Run each script in a transaction of its own, in order; first, one round trip fills in all of them."""
        if not scripts:
            return
        filled = await self.conn.fetchval(ddl.RENDER, *ddl.render_arguments(scripts))
        for script, text in zip(scripts, filled, strict=True):
            self.on_statement(Moment.BEFORE, script.template)
            await self.conn.execute(text)
            self.on_statement(Moment.AFTER, script.template)

    async def ending(self, query: str, *args: object) -> Sequence[asyncpg.Record]:
        """A query whose effect is to end other sessions."""
        self.on_statement(Moment.BEFORE, query)
        rows = await self.conn.fetch(query, *args)
        self.on_statement(Moment.AFTER, query)
        return rows


class AdminSessions:
    """At most `width` sessions in each server's maintenance database, kept for the next user until they idle too long."""

    def __init__(self, width: int, patience: Patience, on_statement: OnStatement) -> None:
        self._width = width
        self._patience = patience
        self._on_statement = on_statement
        self._pools: dict[ServerId, tuple[Admin, Pool]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def on(self, admin: Admin) -> AsyncIterator[Session]:
        """A session in the maintenance database. TenantServerUnavailable for whatever driver or network say."""
        with speaking_of(admin):
            pool = self._pool(admin)
            await pool  # prepares it once; opens no connection, so two who come together meet no pause here
            async with pool.acquire(timeout=self._patience.statement.total_seconds()) as conn:
                yield Session(conn, self._on_statement)

    @asynccontextmanager
    async def inside(self, admin: Admin, database: str) -> AsyncIterator[Session]:
        """A session in another database, for this once: one that stayed would be in the way of a rename."""
        with speaking_of(admin):
            conn = await connect_unhurried(admin, self._patience, database, self._settings())
            try:
                yield Session(conn, self._on_statement)
            finally:
                await farewell(conn)

    async def aclose(self) -> None:
        """End every session; those in use are waited for."""
        for _, pool in self._pools.values():
            self._close_behind(pool)
        self._pools.clear()
        await asyncio.gather(*self._closing)

    def _pool(self, admin: Admin) -> Pool:
        known = self._pools.get(admin.server_id)
        if known and known[0] == admin:
            return known[1]
        if known:
            self._close_behind(known[1])
        pool = self._new_pool(admin)
        self._pools[admin.server_id] = admin, pool
        return pool

    def _new_pool(self, admin: Admin) -> Pool:
        return asyncpg.create_pool(
            host=admin.host,
            port=admin.port,
            user=admin.user,
            password=admin.password.reveal(),
            database=MAINTENANCE_DATABASE,
            min_size=0,
            max_size=self._width,
            timeout=self._patience.connect.total_seconds(),
            command_timeout=self._patience.statement.total_seconds(),
            max_inactive_connection_lifetime=self._patience.idle.total_seconds(),
            server_settings=self._settings(),
            reset=_nothing_to_reset,
            ssl=context_of(admin),
        )

    def _settings(self) -> dict[str, str]:
        # The server gives up shortly before the driver does, so that what it says is heard.
        return SETTINGS | {"statement_timeout": f"{self._patience.statement.total_seconds() * 0.9:.0f}s"}

    def _close_behind(self, pool: Pool) -> None:
        task = asyncio.create_task(_close(pool))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def connect(
    admin: Admin,
    patience: Patience,
    database: str = MAINTENANCE_DATABASE,
    settings: dict[str, str] | None = None,
    trust: ssl.SSLContext | None = None,
) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection of its own; `trust` in place of what is trusted otherwise. Raises what the driver raises."""
    conn: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
        host=admin.host,
        port=admin.port,
        user=admin.user,
        password=admin.password.reveal(),
        database=database,
        timeout=patience.connect.total_seconds(),
        command_timeout=patience.statement.total_seconds(),
        server_settings=settings or {"application_name": SETTINGS["application_name"]},
        statement_cache_size=0,
        ssl=trust or context_of(admin),
    )
    return conn


async def connect_unhurried(
    admin: Admin, patience: Patience, database: str, settings: dict[str, str]
) -> "asyncpg.Connection[asyncpg.Record]":
    """The same, with no end to a transaction: what a tenant set for its database counts from the first moment on."""
    try:
        return await connect(admin, patience, database, settings | {"transaction_timeout": "0"})
    except asyncpg.UndefinedObjectError:  # before PostgreSQL 17 nobody can set it
        return await connect(admin, patience, database, settings)


async def farewell(conn: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Close it politely, or at once where the other side no longer answers."""
    try:
        await conn.close(timeout=1)
    except DRIVER_ERRORS:
        conn.terminate()


@contextmanager
def speaking_of(admin: Admin) -> Iterator[None]:
    """Turns what the driver or the network raises into TenantServerUnavailable, in one sentence without secrets."""
    try:
        yield
    except DRIVER_ERRORS as e:
        kind = Raced if isinstance(e, asyncpg.PostgresError) and sqlstates.says_raced(e) else TenantServerUnavailable
        raise kind(f"The server at {admin.host}:{admin.port} {sqlstates.in_words(e)}.") from e


async def _nothing_to_reset(_: object) -> None:
    """Sessions carry no state from one use to the next, so giving one back costs no round trip."""


async def _close(pool: Pool) -> None:
    try:
        await pool.close()
    except DRIVER_ERRORS:
        pool.terminate()
