"""Listening for moves beside the caller's own work."""

import asyncio
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import aclosing
from inspect import isawaitable
from types import TracebackType
from typing import Self

from database_service_client.drivers import AsyncDriver, Driver
from database_service_client.errors import Closed, DatabaseServiceError
from database_service_client.models import Address, Credentials, Moved
from database_service_client.steps import Pause, Steps, Stream

OnMoved = Callable[[Address, Credentials], object]
Again = Callable[[Moved], Steps[Moved]]
"""The same move, as it is to be told once more: it leads to where the database is by now."""

FIRST_S = 1.0
"""Before a move that a call back did not take is told again; doubles each time."""
LONGEST_S = 60.0

log = logging.getLogger("database_service_client")


class Watch:
    """Calls back on a thread of its own while it is open. `error` is what ended it early, if anything did.

    A call back that raises is logged and called again for the same move, after 1 s, 2 s, 4 s, at most a minute.
    """

    def __init__(self, driver: Driver, moves: Stream[Moved], again: Again, on_moved: OnMoved, name: str) -> None:
        """`driver` is nobody else's."""
        self._driver = driver
        self._moves = moves
        self._again = again
        self._on_moved = on_moved
        self._thread = threading.Thread(target=self._listen, name=name, daemon=True)
        self.error: DatabaseServiceError | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """No call back begins after this; a request that is held just now is left to end."""
        self._driver.end()

    def join(self, timeout: float | None = None) -> None:
        """Until it ended by itself, at most so many seconds; `error` says why it did."""
        self._thread.join(timeout)

    def _listen(self) -> None:
        try:
            for moved in self._driver.stream(self._moves):
                self._tell(moved)
        except Closed:
            return
        except DatabaseServiceError as error:
            self.error = error
            log.warning("%s ended: %s", self._thread.name, error)

    def _tell(self, moved: Moved) -> None:
        for pause in _pauses():
            if self._driver.closed.is_set() or self._taken(moved, pause):
                return
            self._driver.asker.time.sleep(pause, self._driver.closed)
            moved = self._driver.run(self._again(moved))

    def _taken(self, moved: Moved, pause: Pause) -> bool:
        try:
            self._on_moved(moved.old, moved.new)
        except Exception as raised:  # noqa: BLE001  it is the caller's, and may be anything
            _log_not_taken(self._thread.name, raised, pause)
            return False
        return True


class AsyncWatch:
    """Calls back in a task of its own while it is open; a call back may be awaitable. `error` and what is raised as in Watch."""

    def __init__(self, driver: AsyncDriver, moves: Stream[Moved], again: Again, on_moved: OnMoved, name: str) -> None:
        self._driver = driver
        self._moves = moves
        self._again = again
        self._on_moved = on_moved
        self._name = name
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self.error: DatabaseServiceError | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._listen(), name=self._name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Its task is over when this returns; from within a call back, when that returns."""
        self._closed = True
        if self._task is None or self._task is asyncio.current_task():
            return
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _listen(self) -> None:
        try:
            async with aclosing(self._driver.stream(self._moves)) as moves:
                async for moved in moves:
                    await self._tell(moved)
        except Closed:
            return
        except DatabaseServiceError as error:
            self.error = error
            log.warning("%s ended: %s", self._name, error)

    async def _tell(self, moved: Moved) -> None:
        """Closed where it is to end, also when a call back has kept its cancellation to itself."""
        for pause in _pauses():
            taken = await self._taken(moved, pause)
            if self._ending:
                raise Closed
            if taken:
                return
            await self._driver.asker.time.async_sleep(pause)
            moved = await self._driver.run(self._again(moved))

    async def _taken(self, moved: Moved, pause: Pause) -> bool:
        try:
            told = self._on_moved(moved.old, moved.new)
            if isawaitable(told):
                await told
        except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001  as in Watch; what it awaits may be cancelled
            if not self._ending:
                _log_not_taken(self._name, raised, pause)
            return False
        return True

    @property
    def _ending(self) -> bool:
        return self._closed or bool(self._task and self._task.cancelling())


def _pauses() -> Iterator[Pause]:
    seconds = FIRST_S
    while True:
        yield Pause(seconds, idle=True)
        seconds = min(LONGEST_S, 2 * seconds)


def _log_not_taken(name: str, raised: BaseException, pause: Pause) -> None:
    """What it says is left out: it was called with a password."""
    at = traceback.extract_tb(raised.__traceback__)[-1]
    log.error(
        "%s: on_moved raised %s (%s, line %s); it is told again in %g s",
        name, type(raised).__name__, at.filename, at.lineno, pause.seconds,
    )  # fmt: skip
