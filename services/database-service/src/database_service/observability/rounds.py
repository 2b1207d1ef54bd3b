"""Work that a process does beside its requests, again and again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

log = structlog.get_logger(__name__)


async def regularly(every_s: float, work: Callable[[], Awaitable[object]]) -> NoReturn:
    """Until it is cancelled. What a round raises is told, and the next one is tried: nobody awaits it who could see it end."""
    while True:
        await asyncio.sleep(every_s)  # noqa: TID251  it goes by the clock; nobody waits for it
        try:
            await work()
        except Exception:
            log.exception("round.failed", work=getattr(work, "__qualname__", str(work)))
