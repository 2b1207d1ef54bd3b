"""Work that blocks, in a thread of its own that learns when nobody waits for it any more."""

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from instance_service.domain.errors import WorkloadFailed

P = ParamSpec("P")
T = TypeVar("T")

_given_up: ContextVar[threading.Event | None] = ContextVar("given_up", default=None)
"""Of the thread's work; None where it is not work that anybody may give up."""


async def apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do it in a thread. Who is cut off while waiting for it gives it up."""
    given_up = threading.Event()

    def worked() -> T:
        _given_up.set(given_up)
        return work(*args, **kwargs)

    try:
        return await asyncio.to_thread(worked)
    except asyncio.CancelledError:
        given_up.set()
        raise


def still_wanted() -> None:
    """To be asked before each change. A thread cannot be stopped: one that was given up must not act behind the back of who
    comes next. WorkloadFailed then."""
    if (given_up := _given_up.get()) is not None and given_up.is_set():
        raise WorkloadFailed("It took too long and was given up.")
