"""Live: a stream of server-sent events that says *that* the fleet changed; the page then asks for its parts anew."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from database_service.admission.gate import Why, aside
from database_service.admission.sharing import Shared
from database_service.deps import Deps
from database_service.domain.errors import Overloaded, ServiceError
from database_service.views import fleet

LOOK_EVERY_S = 1.0
KEEP_ALIVE_S = 15.0
AGAIN_MS = 10_000


@dataclass
class Fleet:
    """What the last look saw. All who watch share one look a second, and while nobody does there is none."""

    _look: Shared[str] = field(default_factory=Shared)
    _seen: str = ""
    _looked_at: float = float("-inf")

    async def now(self, deps: Deps) -> str:
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._seen = await self._look.shared(lambda: fleet.fingerprint(deps))
            self._looked_at = time.monotonic()
        return self._seen

    async def changes(self, deps: Deps) -> AsyncIterator[bytes]:
        """The first event tells how it is when the stream begins, each further one that it is not so any more.

        Where too many wait already it ends at once, and is asked for again later.
        """
        try:
            with aside(Why.CHANGE):
                async for event in self._events(deps):
                    yield event
        except Overloaded:
            yield b"retry: %d\n\n" % AGAIN_MS

    async def _events(self, deps: Deps) -> AsyncIterator[bytes]:
        last, told_at = "", time.monotonic()
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
                yield b": still here\n\n"
            await asyncio.sleep(LOOK_EVERY_S)  # noqa: TID251  servers' rows tell nobody when they change
