"""One event loop and one set of connections for a worker process, whatever number of Celery threads share it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import structlog
import uvloop

from database_service.deps import Deps
from database_service.domain.errors import Unavailable
from database_service.settings import load_settings
from database_service.wiring import open_deps

log = structlog.get_logger(__name__)

T = TypeVar("T")


LONG_AT_ONCE = 4
"""So much long work goes on in one process; more waits, unclaimed, for this one or for another."""


class Loop:
    """Opens on first use; `run` waits in the calling thread for a coroutine that runs on the loop, `begin` does not wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._deps: Deps | None = None
        self._begun: dict[str, Future[object]] = {}
        self._long: set[asyncio.Task[object]] = set()
        self._room = asyncio.Semaphore(LONG_AT_ONCE)

    def run(self, work: Callable[[Deps], Awaitable[T]], request_id: str | None = None) -> T | None:
        """None where a dependency is away: the row stays due, and the next sweep tries again.

        `request_id` is of the request that set it off; logs and events carry it.
        """
        try:
            return self._submit(self._work(work, request_id))
        except* Unavailable as gone:
            log.warning("task.put_off", error=str(gone.exceptions[0]))
        return None

    def begin(self, name: str, work: Callable[[Deps], Awaitable[object]], request_id: str | None = None) -> None:
        """Work that may take hours: it holds none of Celery's threads. What is at work under this name already goes on."""
        with self._lock:
            if (begun := self._begun.get(name)) and not begun.done():
                return
            self._begun = {name: begun for name, begun in self._begun.items() if not begun.done()}
            self._begun[name] = asyncio.run_coroutine_threadsafe(self._in_turn(work, request_id), self._started())

    def soon(self, call: Callable[[], None]) -> None:
        """Call it on the loop when it comes to it, which shows that it does."""
        self._running().call_soon_threadsafe(call)

    async def _work(self, work: Callable[[Deps], Awaitable[T]], request_id: str | None) -> T:
        if request_id:
            structlog.contextvars.bind_contextvars(request_id=request_id)
        return await work(await self._open())

    async def _in_turn(self, work: Callable[[Deps], Awaitable[object]], request_id: str | None) -> None:
        task = asyncio.current_task()
        assert task  # noqa: S101  a coroutine that runs is some task's
        self._long.add(task)
        task.add_done_callback(self._long.discard)
        try:
            async with self._room:
                await self._work(work, request_id)
        except* Unavailable as gone:
            log.warning("task.put_off", error=str(gone.exceptions[0]))
        except* Exception:
            log.exception("task.crashed")

    async def _open(self) -> Deps:
        async with self._opening:
            if self._deps is None:
                self._deps = await self._stack.enter_async_context(open_deps(load_settings()))
            return self._deps

    def _submit(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._running()).result()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            return self._started()

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = uvloop.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="event-loop", daemon=True)
            self._thread.start()
        return self._loop

    def close(self) -> None:
        """Give connections back; steps that are cut off are finished by the next sweep. Nothing runs on it afterwards."""
        if self._loop is None or self._thread is None or self._loop.is_closed():
            return
        self._submit(self._cut_off())
        self._submit(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cut_off(self) -> None:
        """Long work that is cut off ends its programs and sessions first."""
        for task in self._long:
            task.cancel()
        await asyncio.gather(*self._long, return_exceptions=True)


loop = Loop()
