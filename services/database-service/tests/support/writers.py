"""Writers: clients that commit rows as fast as they can, reconnect when they are cut off, and remember what was acknowledged."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import asyncpg

from support.login import NOT_YET

PATIENCE_S = 1.0
"""For a connection, and for an answer: a machine that is gone answers nothing at all."""
CUT_OFF = (*NOT_YET, asyncpg.InterfaceError, asyncpg.OperatorInterventionError, asyncpg.InternalClientError)
TABLE = "CREATE TABLE kept (number bigint PRIMARY KEY)"


@dataclass(slots=True)
class Writers:
    """`where` gives the DSN of the moment, None while there is none."""

    where: Callable[[], Awaitable[str | None]]
    tried: int = 0
    acknowledged: dict[int, float] = field(default_factory=dict)
    """Numbers of rows whose commit was acknowledged, and when."""
    over: bool = False
    _numbers: "count[int]" = field(default_factory=count)

    async def until_acknowledged(self, more: int, within_s: float = 60) -> float:
        """Seconds until that many more commits were acknowledged than at the call."""
        began, wanted = time.monotonic(), len(self.acknowledged) + more
        async with asyncio.timeout(within_s):
            while len(self.acknowledged) < wanted:  # noqa: ASYNC110  they count in this loop, in steps of milliseconds
                await asyncio.sleep(0.005)
        return time.monotonic() - began

    async def lost(self, dsn: str) -> set[int]:
        """What was acknowledged until now and is not there. Rows that nobody ever wrote fail the test."""
        known = set(self.acknowledged)
        conn = await asyncpg.connect(dsn)
        there = {row["number"] for row in await conn.fetch("SELECT number FROM kept")}
        await conn.close()
        assert max(there, default=0) < self.tried
        return known - there

    async def write(self) -> None:
        while not self.over:
            try:
                await self._session()
            except CUT_OFF:
                await asyncio.sleep(0.02)

    async def _session(self) -> None:
        dsn = await self.where()
        if dsn is None:
            raise ConnectionRefusedError
        conn = await asyncpg.connect(dsn, timeout=PATIENCE_S, command_timeout=PATIENCE_S)
        try:
            while not self.over:
                number = next(self._numbers)
                self.tried = number + 1
                await conn.execute("INSERT INTO kept VALUES ($1)", number)
                self.acknowledged[number] = time.monotonic()
        finally:
            conn.terminate()


@asynccontextmanager
async def writing(where: Callable[[], Awaitable[str | None]], clients: int = 4) -> AsyncIterator[Writers]:
    """So many clients that write for as long as this is open."""
    writers = Writers(where)
    tasks = [asyncio.create_task(writers.write()) for _ in range(clients)]
    try:
        yield writers
    finally:
        # Not cancelled: a driver that is just giving up on a silent machine would take that for its own time-out.
        writers.over = True
        await asyncio.gather(*tasks)
