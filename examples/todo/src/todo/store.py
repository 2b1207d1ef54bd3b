"""The list in its database: every statement there is, and the schema they need."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import asyncpg

from todo.settings import Settings

LONGEST_TEXT = 500
MOST_SHOWN = 200
MOST_CONNECTIONS = 4
PATIENCE_S = 5
LOCK = 0x746F646F
"""Whoever migrates holds it; the others wait, and find nothing left to do."""

APPLIED = "CREATE TABLE IF NOT EXISTS applied_migrations (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())"
ALIVE = "SELECT count(*) FROM applied_migrations"
LIST = "SELECT id, text, done_at IS NOT NULL AS done FROM items ORDER BY done_at NULLS FIRST, id LIMIT $1"
ADD = "INSERT INTO items (text) VALUES ($1)"
TICK = "UPDATE items SET done_at = CASE WHEN done_at IS NULL THEN now() END WHERE id = $1"
DELETE = "DELETE FROM items WHERE id = $1"

_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)
_REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
_FULL = (asyncpg.InsufficientResourcesError,)


class DatabaseAway(Exception):
    """The database cannot be asked now; it may be back in a moment."""


@dataclass(frozen=True, slots=True)
class Item:
    id: int
    text: str
    done: bool


class Store:
    """The list. Every method raises DatabaseAway where the database cannot be asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    async def items(self) -> Sequence[Item]:
        """What is to do first, oldest first; MOST_SHOWN at most."""
        async with self._asking() as conn:
            return [Item(row["id"], row["text"], row["done"]) for row in await conn.fetch(LIST, MOST_SHOWN)]

    async def add(self, text: str) -> None:
        """`text` has 1 to LONGEST_TEXT characters, and no zero byte."""
        await self._change(ADD, text)

    async def tick(self, item_id: int) -> None:
        """Done, or no longer done. One that is gone is none to tick."""
        await self._change(TICK, item_id)

    async def delete(self, item_id: int) -> None:
        await self._change(DELETE, item_id)

    async def prove(self) -> None:
        """That the database answers and has our tables."""
        async with self._asking() as conn:
            await conn.fetchval(ALIVE)

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()

    async def _change(self, statement: str, value: object) -> None:
        async with self._asking() as conn:
            await conn.execute(statement, value)

    @asynccontextmanager
    async def _asking(self) -> "AsyncIterator[asyncpg.pool.PoolConnectionProxy[asyncpg.Record]]":
        try:
            async with asyncio.timeout(PATIENCE_S):
                pool = await self._opened()
                async with pool.acquire() as conn:
                    yield conn
        except (*_AWAY, *_REFUSED, *_FULL) as e:
            raise DatabaseAway(type(e).__name__) from e

    async def _opened(self) -> "asyncpg.Pool[asyncpg.Record]":
        """The pool, once the schema is there: a database that was away when we started is migrated when it is back."""
        async with self._opening:
            if self._pool is None:
                await self._migrate()
                self._pool = await asyncpg.create_pool(
                    connect=self._connect, min_size=0, max_size=MOST_CONNECTIONS, command_timeout=PATIENCE_S
                )
        return self._pool

    async def _connect(self, *_: object, **how: Any) -> "asyncpg.Connection[asyncpg.Record]":
        """A new connection with the login as it is now."""
        return await asyncpg.connect(self._settings.dsn(), **{"timeout": PATIENCE_S, **how})

    async def _migrate(self) -> None:
        conn = await self._connect()
        try:
            async with conn.transaction():
                await conn.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
                await conn.execute(APPLIED)
                done = {row["name"] for row in await conn.fetch("SELECT name FROM applied_migrations")}
                for name, script in migrations():
                    if name not in done:
                        await conn.execute(script)
                        await conn.execute("INSERT INTO applied_migrations (name) VALUES ($1)", name)
        finally:
            conn.terminate()


def migrations() -> list[tuple[str, str]]:
    """Names and scripts, in order."""
    found = [file for file in files("todo.migrations").iterdir() if file.name.endswith(".sql")]
    return [(file.name, file.read_text()) for file in sorted(found, key=lambda file: file.name)]
