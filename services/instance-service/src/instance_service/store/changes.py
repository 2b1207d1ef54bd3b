"""Who waits for a row listens here: one LISTEN connection for all waiting requests of a process."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import asyncpg

from instance_service.domain.errors import OwnDatabaseUnavailable
from instance_service.domain.ids import InstanceId
from instance_service.store.pool import AWAY, Connect

INSTANCE_CHANGED = "instance_changed"
RETRY_S = 1.0
HEARTBEAT = "SELECT 1"


class Changes:
    """Wakes those who watch an instance when PostgreSQL says that its row changed.

    While the connection is away everybody is woken once a second instead, so a lost notification delays and never loses.
    Who only listens does not notice that a peer is gone, so it is asked every `heartbeat_s` seconds.
    """

    def __init__(self, connect: Connect, *, heartbeat_s: float = 30, patience_s: float = 5) -> None:
        self._connect = connect
        self._heartbeat_s = heartbeat_s
        self._patience_s = patience_s
        self._watched: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Changes":
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @contextmanager
    def watch(self, instance_id: InstanceId) -> Iterator[asyncio.Event]:
        """An event that is set at each change; look at the row after entering and clear it before looking again."""
        event, key = asyncio.Event(), str(instance_id)
        watchers = self._watched[key]
        watchers.add(event)
        try:
            yield event
        finally:
            watchers.discard(event)
            if not watchers:
                self._watched.pop(key, None)

    def _wake(self, _conn: object, _pid: int, _channel: str, key: object) -> None:
        for event in self._watched.get(str(key), ()):
            event.set()

    def _wake_all(self) -> None:
        for events in self._watched.values():
            for event in events:
                event.set()

    async def _listen(self) -> None:
        while True:
            try:
                await self._until_closed()
            except (OwnDatabaseUnavailable, *AWAY, asyncpg.PostgresError):
                self._wake_all()
                await asyncio.sleep(RETRY_S)  # noqa: TID251  the one place that polls while LISTEN is away

    async def _until_closed(self) -> None:
        conn = await self._connect(timeout=self._patience_s, command_timeout=self._patience_s)
        try:
            closed = asyncio.Event()
            conn.add_termination_listener(lambda _: closed.set())
            await conn.add_listener(INSTANCE_CHANGED, self._wake)
            self._wake_all()  # whatever changed while nobody listened
            while not closed.is_set():
                await conn.execute(HEARTBEAT)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._heartbeat_s):
                        await closed.wait()
        finally:
            conn.terminate()
