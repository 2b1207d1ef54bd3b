"""Gate: the one bounded queue in front of all requests, and the places behind it.

Little's law tells on arrival how long somebody would wait: those before it, times what one takes, divided by the places.
Who would wait too long is refused then, in microseconds, and not after the wait. In calm times a burst may queue. Once
somebody had to be refused, the queue is kept short, and fewer are let in at once, until a second has gone by without a
refusal: then those who are let in are served almost as fast as on an idle machine. (CoDel, too, keeps a queue short by its
delay, not by its length, and lets bursts through.)
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum

from database_service.admission.bounds import BOUNDS, Bounds
from database_service.domain.errors import Overloaded
from database_service.observability import metrics

_RECENT = 0.05
"""What the newest stay counts in the mean of stays."""


class Why(StrEnum):
    """What a request that stands aside waits for."""

    CHANGE = "change"
    FLEET = "fleet"
    """To tell an open page of the hub of changes: for as long as it is open."""
    SERVER = "server"
    PROVIDER = "provider"


_place: "ContextVar[Place | None]" = ContextVar("place", default=None)


class Gate:
    """`at_once` requests inside, a short queue before it, and those inside who stand aside for something that is not us."""

    def __init__(self, bounds: Bounds = BOUNDS, now: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._now = now
        self._inside = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._stay_s = 0.0
        self._hurried_until = float("-inf")
        self._aside = dict.fromkeys(Why, 0)

    @property
    def inside(self) -> int:
        """Requests that are worked on: neither those in the queue nor those that stand aside."""
        return self._inside

    @property
    def queued(self) -> int:
        return len(self._queue)

    def aside(self, why: Why) -> int:
        """Requests that stand aside for this."""
        return self._aside[why]

    async def enter(self) -> "Place":
        """A place inside, at once or after a short wait. Overloaded where the wait would be, or became, too long."""
        if self._crowded:
            await self._wait()
        else:
            self._inside += 1
            metrics.admitted(0.0)
        place = Place(self, self._now)
        _place.set(place)
        return place

    async def _wait(self) -> None:
        self.refuse_late()
        arrived, turn = self._now(), asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        clock = asyncio.get_running_loop().call_later(self._bounds.longest_wait_s, self._give_up, turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._withdraw(turn)
            raise
        finally:
            clock.cancel()
        metrics.admitted(self._now() - arrived)

    @property
    def _hurried(self) -> bool:
        return self._now() < self._hurried_until

    @property
    def _width(self) -> int:
        most = self._bounds.at_once
        return min(most, self._bounds.hurried_at_once) if self._hurried else most

    @property
    def _crowded(self) -> bool:
        return self._inside >= self._width or bool(self._queue)

    def refuse_late(self) -> None:
        """Overloaded where somebody who comes now would be served too late."""
        if not self._crowded:
            return
        most_s = self._bounds.hurried_wait_s if self._hurried else self._bounds.longest_wait_s
        wait_s = (len(self._queue) + 1) * self._stay_s / self._width
        if len(self._queue) >= self._bounds.queue:
            raise self._refusal("queue_full")
        if wait_s > most_s:
            raise self._refusal("too_late")

    def _shorten(self) -> None:
        """The burst is a flood: its newest are refused, down to the queue that is kept from here on."""
        while self._queue and len(self._queue) * self._stay_s / self._width > self._bounds.hurried_wait_s:
            turn = self._queue.pop()
            if not turn.done():
                metrics.refused("too_late")
                turn.set_exception(Overloaded())

    def _give_up(self, turn: "asyncio.Future[None]") -> None:
        """Nobody left in time: all places are taken by what hangs."""
        if not turn.done():
            self._queue.remove(turn)
            turn.set_exception(self._refusal("waited"))

    def _withdraw(self, turn: "asyncio.Future[None]") -> None:
        """Who was waiting is gone; a turn that came in the same moment is the next one's."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self.back_out()
        elif turn in self._queue:
            self._queue.remove(turn)

    def _refusal(self, why: str) -> Overloaded:
        was_calm = not self._hurried
        self._hurried_until = self._now() + self._bounds.calm_after_s
        if was_calm:
            self._shorten()
        metrics.refused(why)
        return Overloaded()

    # -- what places do -----------------------------------------------------------------------------------------------

    def leave(self, stay_s: float) -> None:
        """After `stay_s` seconds inside, standing aside not counted."""
        self._stay_s += _RECENT * (stay_s - self._stay_s)
        self.back_out()

    def back_out(self) -> None:
        """One place is free: the next one's turn."""
        self._inside -= 1
        while self._queue and self._inside < self._width:
            turn = self._queue.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)

    def step_aside(self, why: Why) -> None:
        """Overloaded where too many stand there already."""
        if self._aside[why] >= self._most(why):
            metrics.refused(f"{why}_full")
            raise Overloaded
        self._aside[why] += 1
        metrics.aside(why, self._aside[why])
        self.back_out()

    def _most(self, why: Why) -> int:
        match why:
            case Why.CHANGE:
                return self._bounds.waiting
            case Why.FLEET:
                return self._bounds.watching
            case Why.SERVER:
                return self._bounds.on_servers
            case Why.PROVIDER:
                return self._bounds.at_provider

    def come_back(self, why: Why) -> None:
        """At once: who was let in before is not sent away in the middle of its work."""
        self._aside[why] -= 1
        metrics.aside(why, self._aside[why])
        self._inside += 1


class Place:
    """One request's place inside. Use it with `with`; it is left at the end."""

    __slots__ = ("_away_s", "_away_since", "_began", "_depth", "_gate", "_now", "_why")

    def __init__(self, gate: Gate, now: Callable[[], float]) -> None:
        self._gate = gate
        self._now = now
        self._began = now()
        self._depth = 0
        self._why = Why.CHANGE
        self._away_since = self._away_s = 0.0

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.leave(self._now() - self._began - self._away_s)

    @contextmanager
    def aside(self, why: Why) -> Iterator[None]:
        """From the first of those that overlap until the last; `why` is the first one's."""
        if self._depth == 0:
            self._gate.step_aside(why)
            self._why, self._away_since = why, self._now()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._away_s += self._now() - self._away_since
                self._gate.come_back(self._why)


@contextmanager
def aside(why: Why) -> Iterator[None]:
    """Give this request's place to the next one for as long as this request waits for something else than us.

    Overloaded where too many do so already. Where there is no gate, as in the worker, nothing happens.
    """
    place = _place.get()
    if place is None:
        yield
    else:
        with place.aside(why):
            yield
