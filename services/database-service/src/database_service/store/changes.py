"""Who waits for a row listens here: one LISTEN connection for all waiting requests of a process."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import asyncpg

DATABASE_CHANGED = "database_changed"
OPERATION_CHANGED = "operation_changed"
TOKEN_CHANGED = "token_changed"  # noqa: S105  a channel's name
RETRY_S = 1.0

HEARTBEAT = "SELECT 1"
CONNECT_S = 5.0
GONE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Changes:
    """Wakes those who watch a key when PostgreSQL says that its row changed.

    While the connection is away everybody is woken once a second instead, so a lost notification delays and never loses.
    A peer may be gone without a word (a node without power, a firewall that forgot us), and who only listens does not notice:
    so it is asked every `heartbeat_s` seconds, and counts as gone when it has not answered after `patience_s`.
    """

    def __init__(self, dsn: str, *, heartbeat_s: float = 30, patience_s: float = 5) -> None:
        self._dsn = dsn
        self._heartbeat_s = heartbeat_s
        self._patience_s = patience_s
        self._watched: dict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Changes":
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @contextmanager
    def watch(self, channel: str, key: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change of `key`; look at the row after entering and clear it before looking again."""
        event = asyncio.Event()
        watchers = self._watched[channel, key]
        watchers.add(event)
        try:
            yield event
        finally:
            watchers.discard(event)
            if not watchers:
                self._watched.pop((channel, key), None)

    def _wake(self, _conn: object, _pid: int, channel: str, key: object) -> None:
        for event in self._watched.get((channel, str(key)), ()):
            event.set()
        for event in self._watched.get((channel, "*"), ()):
            event.set()

    def _wake_all(self) -> None:
        for events in self._watched.values():
            for event in events:
                event.set()

    async def _listen(self) -> None:
        while True:
            try:
                await self._until_closed()
            except GONE:
                await self._pause()

    async def _until_closed(self) -> None:
        conn: asyncpg.Connection[Any] = await asyncpg.connect(
            self._dsn, timeout=CONNECT_S, command_timeout=self._patience_s
        )
        try:
            closed = asyncio.Event()
            conn.add_termination_listener(lambda _: closed.set())
            for channel in (DATABASE_CHANGED, OPERATION_CHANGED, TOKEN_CHANGED):
                await conn.add_listener(channel, self._wake)
            self._wake_all()  # whatever changed while nobody listened
            await self._keep_asking(conn, closed)
        finally:
            conn.terminate()

    async def _keep_asking(self, conn: "asyncpg.Connection[Any]", closed: asyncio.Event) -> None:
        while not closed.is_set():
            await conn.execute(HEARTBEAT)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_s):
                    await closed.wait()

    async def _pause(self) -> None:
        self._wake_all()
        await asyncio.sleep(RETRY_S)  # noqa: TID251  the one place that polls while LISTEN is away
