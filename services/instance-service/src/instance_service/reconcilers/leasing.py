"""What every step shares: the lease it works under, and what becomes of a failure."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import structlog

from instance_service.deps import Deps
from instance_service.domain import backoff
from instance_service.domain.ids import RECONCILER, Who
from instance_service.domain.wording import plain
from instance_service.observability import metrics


class LostLease(Exception):
    """The row changed while this step worked: its result counts for nothing, and the next step starts from what is now."""


def reconciler() -> Who:
    """Who signs what a step changes, with the id of the request that set it off where there is one."""
    return Who(RECONCILER, structlog.contextvars.get_contextvars().get("request_id"))


def later(deps: Deps, attempts: int) -> datetime:
    """When to try again after this many failures in a row."""
    return deps.now() + backoff.delay(deps.policy, attempts, random.random())  # noqa: S311  spreads retries, guards nothing


def said(error: BaseException, limit: int = 500) -> str:
    """An error as a sentence for `last_error`: never empty, never endless, and it can be stored."""
    if isinstance(error, TimeoutError) and not str(error):
        return "it took too long"
    return plain(str(error) or type(error).__name__)[:limit]


@contextmanager
def timed() -> Iterator[Callable[[str], None]]:
    """Count and time one step; call what it gives with the name of what came out."""
    begun, came_out = time.perf_counter(), "cut_off"

    def outcome(name: str) -> None:
        nonlocal came_out
        came_out = name

    try:
        yield outcome
    finally:
        metrics.step(came_out, time.perf_counter() - begun)
