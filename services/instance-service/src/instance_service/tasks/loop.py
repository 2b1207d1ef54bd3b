"""One event loop and one set of connections for a worker process, whatever number of Celery threads share it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import structlog
import uvloop

from instance_service.deps import Deps
from instance_service.domain.errors import Unavailable
from instance_service.settings import load_settings
from instance_service.wiring import open_deps

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Loop:
    """Opens on first use; `run` waits in the calling thread for a coroutine that runs on the loop, `keep_at` does not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._deps: Deps | None = None
        self._kept_at: dict[str, asyncio.Task[None]] = {}

    def run(self, work: Callable[[Deps], Awaitable[T]], request_id: str | None = None) -> T | None:
        """None where our own database is away: the row stays due, and the next sweep tries again.

        `request_id` is of the request that set it off; logs and events carry it.
        """
        try:
            return self._submit(self._work(work, request_id))
        except* Unavailable as gone:
            log.warning("task.put_off", error=str(gone.exceptions[0]))
        return None

    def keep_at(
        self, key: str, most: int, work: Callable[[Deps], Awaitable[object]], request_id: str | None = None
    ) -> None:
        """Begin work that takes long, so that no thread waits with it: one of each `key` at a time, `most` in all.

        It is no promise. What is not begun, or cut off with this process, is left to the sweep.
        """
        self._submit(self._begin(key, most, work, request_id))

    def soon(self, call: Callable[[], None]) -> None:
        """Call it on the loop when it comes to it, which shows that it does."""
        self._running().call_soon_threadsafe(call)

    async def _begin(
        self, key: str, most: int, work: Callable[[Deps], Awaitable[object]], request_id: str | None
    ) -> None:
        if key in self._kept_at or len(self._kept_at) >= most:
            return
        task = asyncio.create_task(self._watched(work, request_id), name=key)
        self._kept_at[key] = task
        task.add_done_callback(lambda _: self._kept_at.pop(key, None))

    async def _watched(self, work: Callable[[Deps], Awaitable[object]], request_id: str | None) -> None:
        try:
            await self._work(work, request_id)
        except Unavailable as gone:
            log.warning("task.put_off", error=str(gone))
        except Exception:  # nobody waits for it, so nobody else would tell
            log.exception("task.crashed")

    async def _work(self, work: Callable[[Deps], Awaitable[T]], request_id: str | None) -> T:
        if request_id:
            structlog.contextvars.bind_contextvars(request_id=request_id)
        return await work(await self._open())

    async def _open(self) -> Deps:
        async with self._opening:
            if self._deps is None:
                self._deps = await self._stack.enter_async_context(
                    open_deps(load_settings(), application="instance-service-worker")
                )
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
        self._submit(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        kept_at = list(self._kept_at.values())
        for task in kept_at:
            task.cancel()
        await asyncio.gather(*kept_at, return_exceptions=True)
        await self._stack.aclose()


loop = Loop()
