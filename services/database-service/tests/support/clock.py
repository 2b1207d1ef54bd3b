"""A clock that tests set: it runs with the real one, and can be put forward."""

from datetime import UTC, datetime, timedelta


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, span: timedelta) -> None:
        self.ahead += span
