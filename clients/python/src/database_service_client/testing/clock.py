"""Time that passes when somebody waits."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

from database_service_client.asking import Time
from database_service_client.steps import Pause

_IDLE_S = 0.005
"""Really: between two looks of somebody who only listens."""
_BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)


class FakeClock:
    """Stands still until it is put forward, or a client of it waits for something. Who only listens for moves does not count."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now(self) -> datetime:
        return self.at(self._seconds)

    def at(self, seconds: float) -> datetime:
        return _BEGINNING + timedelta(seconds=seconds)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._seconds

    def forward(self, seconds: float) -> None:
        self._seconds += max(0.0, seconds)

    @property
    def time(self) -> Time:
        """For a client: its pauses put this clock forward, its dice always fall in the middle."""
        return Time(now=lambda: self._seconds, sleep=self._sleep, async_sleep=self._async_sleep, draw=lambda: 0.5)

    def _sleep(self, pause: Pause, closed: threading.Event) -> None:
        if pause.idle:
            closed.wait(_IDLE_S)
        else:
            self.forward(pause.seconds)

    async def _async_sleep(self, pause: Pause) -> None:
        if not pause.idle:
            self.forward(pause.seconds)
        await asyncio.sleep(_IDLE_S if pause.idle else 0)  # noqa: TID251  others get their turn, as while it really waits
