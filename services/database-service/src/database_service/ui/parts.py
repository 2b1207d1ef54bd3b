"""Parts of pages that look the same whoever looks: made once for all who ask for them at the same time, or soon after."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from database_service.admission.gate import Why, aside
from database_service.ui.live import Fleet
from database_service.ui.rendering import page

TOLD = "X-Fleet-Told"
"""What the page was told last of how the fleet is (`live.Fleet`); its script says it with whatever it asks for."""
_LONGEST = 100
"""Characters of that; ours are shorter."""


@dataclass(frozen=True, slots=True)
class _Making:
    began: float
    """On the monotonic clock."""
    made: "asyncio.Task[Response]"

    @property
    def failed(self) -> bool:
        return self.made.done() and (self.made.cancelled() or self.made.exception() is not None)


@dataclass
class Parts:
    """Two hundred open pages ask for the same part when they are told of a change, and it is looked up and written once.

    Nobody is given one that is older than the time between two looks at the fleet, nor one that was begun before the change they
    were told of, whichever process told them: it is shared by those who were told the same. Each part says as of when it is.
    """

    _fleet: Fleet
    _known: dict[tuple[str, str], _Making] = field(default_factory=dict)

    async def shown(self, request: Request, make: Callable[[], Coroutine[Any, Any, Response]]) -> Response:
        """What `make` gives or raises, for whoever asks for this address. It must not depend on who that is."""
        told = request.headers.get(TOLD, "")[:_LONGEST]
        where = (f"{request.url.path}?{request.url.query}", told)
        known = self._known.get(where)
        if known is None or known.failed or not self._is_new(known):
            self._forget()
            known = self._known[where] = _Making(time.monotonic(), asyncio.create_task(make()))
            return await asyncio.shield(known.made)  # who leaves does not take the others along
        with aside(Why.CHANGE):  # two hundred who wait for one would else be a crowd before the gate
            return await asyncio.shield(known.made)

    def _is_new(self, known: _Making) -> bool:
        return time.monotonic() - known.began < self._fleet.pace_s

    def _forget(self) -> None:
        """What nobody will be given any more: addresses are many."""
        self._known = {where: each for where, each in self._known.items() if self._is_new(each)}


async def shared(
    request: Request, template: str, seen: Callable[[], Coroutine[Any, Any, Mapping[str, object]]]
) -> Response:
    """The part, of what `seen` finds."""
    parts: Parts = request.app.state.hub_parts

    async def made() -> Response:
        return page(template, request, None, **await seen())

    return await parts.shown(request, made)
