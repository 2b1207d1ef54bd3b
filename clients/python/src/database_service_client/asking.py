"""How a request is asked until it is answered: again after a fault, with jitter, within one budget of time."""

import asyncio
import itertools
import math
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TypeVar
from uuid import uuid4

import httpx

from database_service_client import models
from database_service_client.errors import ApiError, DatabaseServiceError, UnexpectedAnswer, Unreachable, error_of
from database_service_client.steps import Call, Pause, Steps, exchange, pause

T = TypeVar("T")

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NOT_DONE = frozenset({429, 503})
"""The service says so: nothing was half-written, the same call may be made again."""
_PERHAPS_DONE = frozenset({502, 504})
"""Somebody on the way says so, who does not know what became of it."""

LATE_S = 2.0
"""What an answer may come after the end of the wait for it: one that the service held until then is still on its way."""
_MOST_DOUBLINGS = 30

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


@contextmanager
def request_id(given: str) -> Iterator[None]:
    """Every request made inside carries this `X-Request-ID`: 1 to 64 of `[A-Za-z0-9._-]`; else each call has one of its own."""
    before = _request_id.set(given)
    try:
        yield
    finally:
        _request_id.reset(before)


def idempotency_key(given: str | None = None) -> Mapping[str, str]:
    """The header that makes a repeated request the same one; make it once per call of a verb."""
    return {"Idempotency-Key": given or uuid4().hex}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """After connection errors, 429, 502, 503 and 504. Times are seconds."""

    most: int | None = None
    """Requests after the first; 0 for none, None for as many as the time allows."""
    budget_s: float = 30
    """From the first request on; what the service was asked to wait comes on top. Methods that wait end it sooner, with
    their own time, or begin another one."""
    first_s: float = 0.1
    """The longest pause before the first repetition; it doubles each time. The pause is drawn evenly from 0 to that."""
    longest_s: float = 5

    def pause_s(self, attempt: int, error: DatabaseServiceError, draw: float) -> float:
        """Before repetition number `attempt`, from 0 on; never less than the service's `Retry-After`. `draw` is 0 to 1."""
        least = (error.retry_after if isinstance(error, ApiError) else None) or 0.0
        longest: float = min(self.longest_s, self.first_s * 2 ** min(attempt, _MOST_DOUBLINGS))
        return least + draw * longest


def _sleep(pause: Pause, closed: threading.Event) -> None:
    closed.wait(pause.seconds)


async def _async_sleep(pause: Pause) -> None:
    await asyncio.sleep(pause.seconds)  # noqa: TID251  a client has no row to put off; tests give another Time


def _draw() -> float:
    return random.random()  # noqa: S311  callers must not knock together; nothing is secret about it


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """The clock of a client, in seconds, and its dice. Tests have one of their own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[Pause, threading.Event], None] = _sleep
    async_sleep: Callable[[Pause], Awaitable[None]] = _async_sleep
    draw: Callable[[], float] = _draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    timeout_s: float
    """What one request may take, beyond what the service was asked to wait."""
    retries: Retries = field(default_factory=Retries)
    time: Time = field(default_factory=Time)

    def request(self, http: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
        return http.build_request(
            call.method,
            call.path,
            params={name: value for name, value in call.query.items() if value is not None},
            json=None if call.body is None else {n: value for n, value in call.body.items() if value is not None},
            headers=dict(call.headers),
            timeout=self._timeout(call),
        )

    def _timeout(self, call: Call) -> httpx.Timeout:
        most_s = math.inf if call.until is None else max(0.0, call.until - self.time.now()) + LATE_S
        return httpx.Timeout(min(self.timeout_s, most_s), read=min(self.timeout_s + call.held_s, most_s))

    def ask(self, call: Call) -> Steps[httpx.Response]:
        """A successful answer, or an ApiError with the last unsuccessful one, or Unreachable."""
        given = _request_id.get() or uuid4().hex
        call = replace(call, headers={**call.headers, "X-Request-ID": given})
        ends = self._ends(call)
        for attempt in itertools.count():
            answer, again = yield from _once(call, given)
            if isinstance(answer, httpx.Response):
                return answer
            wait_s = self.retries.pause_s(attempt, answer, self.time.draw())
            if not again or attempt == self.retries.most or self.time.now() + wait_s > ends:
                raise answer
            yield from pause(wait_s)
        raise AssertionError("it counts without end")

    def _ends(self, call: Call) -> float:
        ends = self.time.now() + self.retries.budget_s + call.held_s
        return ends if call.until is None else min(ends, call.until)

    def get(self, shape: type[T], call: Call) -> Steps[T]:
        """The answer as that model."""
        return parsed(shape, (yield from self.ask(call)))


def parsed(shape: type[T], response: httpx.Response) -> T:
    """UnexpectedAnswer where it is not such a model; what was sent instead is not repeated, it may hold a secret."""
    try:
        return models.parse(shape, response.content)
    except models.Mismatch as wrong:
        raise UnexpectedAnswer.to(response, f"is no {shape.__name__}: {wrong}") from None


def _once(call: Call, given: str) -> Steps[tuple[httpx.Response | DatabaseServiceError, bool]]:
    """What came of it; and if that is an error, whether to ask again."""
    try:
        response = yield from exchange(call)
    except (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError) as lost:
        return _lost(lost, given), call.repeatable or isinstance(lost, _NEVER_SENT)
    if response.is_success or response.status_code in call.also_answers:
        return response, False
    again = response.status_code in (_NOT_DONE | _PERHAPS_DONE if call.repeatable else _NOT_DONE)
    return error_of(response), again


def _lost(lost: httpx.TransportError, given: str) -> Unreachable:
    error = Unreachable(f"database-service does not answer: {type(lost).__name__} {lost}".rstrip(), given)
    error.__cause__ = lost
    return error
