"""Live: a stream of server-sent events that says *that* the fleet changed; the page then asks for its parts anew."""

import asyncio
import random
import time
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
"""Who watches adds so much to the time between two looks: one second up to fifty open pages, four with two hundred. Each that is
told asks for its parts, and what all of them together take must leave the API to those who need a database."""
KEEP_ALIVE_S = 10.0
"""Without a change a stream says after so long that it is there: the page's script takes one that said nothing for 30 s for lost."""
AGAIN_MS = 10_000


@dataclass
class Fleet:
    """What the last look saw. All who watch share one look, and while nobody does there is none."""

    _look: Shared[None] = field(default_factory=Shared)
    _seen: str = ""
    _looked_at: float = float("-inf")
    _watchers: int = 0

    @property
    def pace_s(self) -> float:
        """From one look to the next."""
        return max(LOOK_EVERY_S, self._watchers * EACH_S)

    async def now(self, deps: Deps) -> str:
        if time.monotonic() - self._looked_at >= self.pace_s:
            await self._look.shared(lambda: self._looked(deps))
        return self._seen

    async def _looked(self, deps: Deps) -> None:
        self._seen = await fleet.fingerprint(deps)
        self._looked_at = time.monotonic()

    async def changes(self, deps: Deps) -> AsyncIterator[bytes]:
        """The first event tells how it is soon after the stream began, each further one that it is not so any more.

        Where too many wait already it ends at once, and is asked for again later.
        """
        try:
            with aside(Why.CHANGE), self.watching():
                async for event in self._events(deps):
                    yield event
        except Overloaded:
            yield b"retry: %d\n\n" % AGAIN_MS

    @contextmanager
    def watching(self) -> Iterator[None]:
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

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
