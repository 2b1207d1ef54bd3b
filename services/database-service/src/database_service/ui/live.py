"""Live: a stream of server-sent events that says *that* the fleet changed; the page then asks for its parts anew."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from database_service.admission.gate import Why, aside
from database_service.admission.sharing import Shared
from database_service.deps import Deps
from database_service.domain.errors import Overloaded, ServiceError
from database_service.views import fleet

LOOK_EVERY_S = 1.0
EACH_S = 0.02
"""Who watches adds so much to the time between two looks: one second up to fifty open pages, four with two hundred. A page
is told of a change within two of these: a stream wakes once in each, and what it finds is as old as one. Each that is told asks for
its parts, and what all of them together take must leave the API to those who need a database."""
LONGEST_S = 10.0
"""Between two looks, however many watch."""
MOST_EACH = 200
"""Streams of one caller at once: nobody makes the others wait for long, or takes all the room there is."""
KEEP_ALIVE_S = 10.0
"""Without a change a stream says after so long that it is there, at its next look: the page's script takes one that said nothing
for 30 s for lost (`hub.js`)."""
AGAIN_MS = 10_000
LATER = b"retry: %d\nevent: later\ndata: full\n\n" % AGAIN_MS
"""Where there is no room: the page asks for its parts once, and comes again."""


@dataclass
class Fleet:
    """What the last look saw. All who watch share one look, and while nobody does there is none."""

    _look: Shared[None] = field(default_factory=Shared)
    _seen: str = ""
    _looked_at: float = float("-inf")
    _watchers: Counter[str] = field(default_factory=Counter)
    """By caller."""

    @property
    def pace_s(self) -> float:
        """From one look to the next."""
        return min(max(LOOK_EVERY_S, self._watchers.total() * EACH_S), LONGEST_S)

    async def now(self, deps: Deps) -> str:
        if time.monotonic() - self._looked_at >= self.pace_s:
            await self._look.shared(lambda: self._looked(deps))
        return self._seen

    async def _looked(self, deps: Deps) -> None:
        self._seen = await fleet.fingerprint(deps)
        self._looked_at = time.monotonic()

    async def changes(self, deps: Deps, caller: str) -> AsyncIterator[bytes]:
        """The first event tells how it is soon after the stream began, each further one that it is not so any more.

        Where too many watch already, or this caller does too often, it ends at once, and is asked for again later.
        """
        try:
            with aside(Why.FLEET), self.watching(caller):
                async for event in self._events(deps):
                    yield event
        except Overloaded:
            yield LATER

    @contextmanager
    def watching(self, caller: str) -> Iterator[None]:
        """Overloaded where this caller does so too often."""
        if self._watchers[caller] >= MOST_EACH:
            raise Overloaded
        self._watchers[caller] += 1
        try:
            yield
        finally:
            self._watchers[caller] -= 1
            self._watchers += Counter()  # keeps those alone who still watch

    async def _events(self, deps: Deps) -> AsyncIterator[bytes]:
        last, told_at = "", time.monotonic()
        await self._a_while(0.0)  # those who come back together, as after a restart, do not ask together
        while True:
            try:
                seen = await self.now(deps)
            except ServiceError:
                seen = "unknown"  # the page says so when it asks for its parts
            if seen != last:
                last, told_at = seen, time.monotonic()
                yield b"event: fleet\ndata: %b\n\n" % seen.encode()
            elif time.monotonic() - told_at > KEEP_ALIVE_S:
                told_at = time.monotonic()
                yield b"event: here\ndata: still\n\n"
            await self._a_while(0.5)

    async def _a_while(self, least: float) -> None:
        """Up to the time between two looks; not the same for all, as two hundred who ask at once are a flood before the gate."""
        await asyncio.sleep(random.uniform(least, 1.0) * self.pace_s)  # noqa: S311, TID251  servers' rows tell nobody of changes
