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
STEPS_AT_ONCE = 32
"""So many steps and passes that may hang on a server or on Docker: far more than there are threads for Celery's messages."""
STEPS_PATIENCE_S = 10.0
"""How long steps may go on once the worker is told to end; a step that is cut off keeps its lease until that runs out."""


class Lane:
    """Work of one kind that is begun and not waited for: so much of it at once, the rest in line."""

    def __init__(self, width: int) -> None:
        self.room = asyncio.Semaphore(width)
        self.tasks: set[asyncio.Task[object]] = set()


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
        self._forget_at = STEPS_AT_ONCE
        self._long = Lane(LONG_AT_ONCE)
        self._steps = Lane(STEPS_AT_ONCE)

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
        self._begin(self._long, name, work, request_id)

    def begin_step(self, name: str, work: Callable[[Deps], Awaitable[object]], request_id: str | None = None) -> None:
        """The same for what takes seconds, and longer only where a server or Docker hangs: all the others go on."""
        self._begin(self._steps, name, work, request_id)

    def _begin(
        self, lane: "Lane", name: str, work: Callable[[Deps], Awaitable[object]], request_id: str | None
    ) -> None:
        with self._lock:
            if (begun := self._begun.get(name)) and not begun.done():
                return
            self._forget_what_is_over()
            self._begun[name] = asyncio.run_coroutine_threadsafe(self._in_turn(lane, work, request_id), self._started())

    def _forget_what_is_over(self) -> None:
        """Now and then, as each time costs a look at all of them."""
        if len(self._begun) >= self._forget_at:
            self._begun = {name: begun for name, begun in self._begun.items() if not begun.done()}
            self._forget_at = 2 * len(self._begun) + STEPS_AT_ONCE

    def soon(self, call: Callable[[], None]) -> None:
        """Call it on the loop when it comes to it, which shows that it does."""
        self._running().call_soon_threadsafe(call)

    async def _work(self, work: Callable[[Deps], Awaitable[T]], request_id: str | None) -> T:
        if request_id:
            structlog.contextvars.bind_contextvars(request_id=request_id)
        return await work(await self._open())

    async def _in_turn(self, lane: "Lane", work: Callable[[Deps], Awaitable[object]], request_id: str | None) -> None:
        task = asyncio.current_task()
        assert task  # noqa: S101  a coroutine that runs is some task's
        lane.tasks.add(task)
        task.add_done_callback(lane.tasks.discard)
        try:
            async with lane.room:
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
        """Steps end by themselves; long work, and what hangs, is cut off and ends its programs and sessions first."""
        for task in self._long.tasks:
            task.cancel()
        if self._steps.tasks:
            _, hanging = await asyncio.wait(self._steps.tasks, timeout=STEPS_PATIENCE_S)
            for task in hanging:
                task.cancel()
        await asyncio.gather(*self._long.tasks, *self._steps.tasks, return_exceptions=True)


loop = Loop()
