"""Listening for moves beside the caller's own work."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from inspect import isawaitable
from types import TracebackType
from typing import Self

from database_service_client.drivers import Driver
from database_service_client.errors import Closed, DatabaseServiceError
from database_service_client.models import Address, Credentials, Moved
from database_service_client.steps import Stream

OnMoved = Callable[[Address, Credentials], object]

log = logging.getLogger("database_service_client")


class Watch:
    """Calls back on a thread of its own while it is open. `error` is what ended it early, if anything did."""

    def __init__(self, driver: Driver, moves: Stream[Moved], on_moved: OnMoved, name: str) -> None:
        """`driver` is nobody else's."""
        self._driver = driver
        self._moves = moves
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
                if self._driver.closed.is_set():
                    return
                self._on_moved(moved.old, moved.new)
        except Closed:
            return
        except DatabaseServiceError as error:
            self.error = error
            log.warning("%s ended: %s", self._thread.name, error)


class AsyncWatch:
    """Calls back in a task of its own while it is open; a call back may be awaitable. `error` as in Watch."""

    def __init__(self, moves: AsyncIterator[Moved], on_moved: OnMoved, name: str) -> None:
        self._moves = moves
        self._on_moved = on_moved
        self._name = name
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
        """Its task is over when this returns."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _listen(self) -> None:
        try:
            async for moved in self._moves:
                told = self._on_moved(moved.old, moved.new)
                if isawaitable(told):
                    await told
        except Closed:
            return
        except DatabaseServiceError as error:
            self.error = error
            log.warning("%s ended: %s", self._name, error)
