"""The request log is written beside the requests, never within them: a queue with an end, and one writer of batches."""

import asyncio
import secrets
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count, islice
from typing import Literal, NoReturn

import structlog

from database_service.deps import Deps
from database_service.domain.errors import ControlDatabaseUnavailable
from database_service.domain.requests import Request
from database_service.observability import metrics
from database_service.observability.rounds import regularly
from database_service.store import requests as store

log = structlog.get_logger(__name__)

_BATCH = 500
_FIRST_REFUSED = 400
_READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Keeping:
    """What of the requests is kept."""

    reads: float = 0.1
    """The share of successful reads. Whatever changes something, and whatever is refused, is kept always."""
    body_bytes: int = 8192
    """A longer body is not kept, nor a part of it."""
    queue: int = 10_000
    """Rows that may wait for the database; those beyond are lost, and counted."""
    every_s: float = 1
    """How often what waits is written."""


class RequestLog:
    """One per process, open for as long as it serves. `add` never waits and never fails."""

    def __init__(self, deps: Deps, keeping: Keeping = Keeping()) -> None:
        self.keeping = keeping
        self._deps = deps
        self._waiting: deque[Request] = deque()
        self._alone = asyncio.Lock()
        self._shares: defaultdict[str, float] = defaultdict(float)
        self._ids = count(secrets.randbits(30) << 32)
        self._task: asyncio.Task[NoReturn] | None = None

    async def __aenter__(self) -> "RequestLog":
        self._task = asyncio.create_task(regularly(self.keeping.every_s, self.write))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.write()
        metrics.logged("lost", len(self._waiting))

    def now(self) -> datetime:
        return self._deps.now()

    def new_id(self) -> int:
        """No other process has it, nor one that ran here before."""
        return next(self._ids)

    def keeps(self, method: str, endpoint: str, status: int, *, known: bool) -> bool:
        """Whether it goes into the log. Of reads every so many-th at each endpoint; none that was served without a token."""
        if status >= _FIRST_REFUSED or method not in _READS:
            return True
        if not known:
            return False
        share = self._shares[endpoint] + self.keeping.reads
        self._shares[endpoint] = share % 1
        return share >= 1

    def add(self, request: Request) -> None:
        if len(self._waiting) < self.keeping.queue:
            self._waiting.append(request)
        else:
            metrics.logged("lost", 1)

    async def write(self) -> None:
        """All that waits, batch by batch. While the database is away it waits on, for as long as there is room."""
        async with self._alone:
            while batch := tuple(islice(self._waiting, _BATCH)):
                if (came_out := await self._written(batch)) is None:
                    return
                for _ in batch:
                    self._waiting.popleft()
                metrics.logged(came_out, len(batch))

    async def _written(self, batch: Sequence[Request]) -> Literal["written", "lost"] | None:
        """None where the database is away. What it refuses is lost: it would keep all the others waiting for ever."""
        try:
            async with self._deps.db.connection() as conn:
                await store.add(conn, batch)
        except ControlDatabaseUnavailable:
            return None
        except Exception:
            log.exception("requests.refused", number=len(batch))
            return "lost"
        return "written"
