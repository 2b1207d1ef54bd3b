"""Time that passes when somebody waits."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

from database_service_client.asking import Time

_BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)


class FakeClock:
    """Stands still until it is put forward, or a client of it pauses."""

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

    def _sleep(self, seconds: float, closed: threading.Event) -> None:
        self.forward(seconds)

    async def _async_sleep(self, seconds: float) -> None:
        self.forward(seconds)
        await asyncio.sleep(0)  # noqa: TID251  others get their turn, as they would while it really waits
