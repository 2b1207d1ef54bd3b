"""One event loop and one set of connections for a worker process, whatever number of Celery threads share it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
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


class Loop:
    """Opens on first use; `run` waits in the calling thread for a coroutine that runs on the loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._deps: Deps | None = None

    def run(self, work: Callable[[Deps], Awaitable[T]], request_id: str | None = None) -> T | None:
        """None where a dependency is away: the row stays due, and the next sweep tries again.

        `request_id` is of the request that set it off; logs and events carry it.
        """
        try:
            return self._submit(self._work(work, request_id))
        except* Unavailable as gone:
            log.warning("task.put_off", error=str(gone.exceptions[0]))
        return None

    def soon(self, call: Callable[[], None]) -> None:
        """Call it on the loop when it comes to it, which shows that it does."""
        self._running().call_soon_threadsafe(call)

    async def _work(self, work: Callable[[Deps], Awaitable[T]], request_id: str | None) -> T:
        if request_id:
            structlog.contextvars.bind_contextvars(request_id=request_id)
        return await work(await self._open())

    async def _open(self) -> Deps:
        async with self._opening:
            if self._deps is None:
                self._deps = await self._stack.enter_async_context(open_deps(load_settings()))
            return self._deps

    def _submit(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._running()).result()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = uvloop.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="event-loop", daemon=True)
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """Give connections back; steps that are cut off are finished by the next sweep. Nothing runs on it afterwards."""
        if self._loop is None or self._thread is None or self._loop.is_closed():
            return
        self._submit(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


loop = Loop()
