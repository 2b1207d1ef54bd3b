"""Two at once, step by step: a transaction that is held open, and another that must wait for it or pass it by."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import asyncpg
import pytest

from database_service.store.pool import Conn
from support.house import House

T = TypeVar("T")

WAITS = "SELECT bool_or(wait_event_type = 'Lock') FROM pg_stat_activity WHERE datname = current_database()"


@dataclass(frozen=True)
class Held:
    """A transaction whose owner decides when, and how, it ends."""

    conn: Conn
    transaction: "asyncpg.transaction.Transaction"

    async def commit(self) -> None:
        await self.transaction.commit()

    async def give_up(self) -> None:
        await self.transaction.rollback()


@dataclass(frozen=True)
class Two:
    """`first` has begun and is held; `second` comes while it is, each statement a transaction of its own."""

    house: House
    first: Held
    second: Conn

    async def until_waits(self, work: Awaitable[T]) -> "asyncio.Task[T]":
        """This work, begun, once PostgreSQL says that it waits for a lock, which only the first can hold."""
        task = asyncio.ensure_future(work)
        async with asyncio.timeout(20):
            while not await self.house.value(WAITS):
                assert not task.done(), f"it did not wait: {task}"
        return task


@asynccontextmanager
async def _held(house: House) -> AsyncIterator[Held]:
    async with house.deps.db.connection() as conn:
        transaction = conn.transaction()
        await transaction.start()
        held = Held(conn, transaction)
        try:
            yield held
        finally:
            if conn.is_in_transaction():
                await transaction.rollback()


@pytest.fixture
async def two(house: House) -> AsyncIterator[Two]:
    async with _held(house) as first, house.deps.db.connection() as second:
        yield Two(house, first, second)
