"""How something grew day by day, and when it will be full if it goes on like that."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from itertools import combinations
from math import ceil
from statistics import median

HOURS_KEPT = timedelta(days=14)
"""So long what a server had is known by the hour; beyond that, by the day."""

LEAST_DAYS = 7
"""Fewer days, or as many without growth, say nothing of those to come."""
LOOKED_BACK = timedelta(days=28)
LONGEST = timedelta(days=365)
"""Four weeks say nothing of what comes after a year."""
SOON = timedelta(days=14)
"""Who is full before that needs somebody."""


class Stretch(StrEnum):
    """How long what is told as one is."""

    HOUR = "hour"
    DAY = "day"

    @property
    def hours(self) -> int:
        return 1 if self is Stretch.HOUR else 24


@dataclass(frozen=True, slots=True)
class Point:
    """What there was on one day."""

    day: date
    value: float


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a database had on disk, one number for each day, the last of them for `last_day`; None where nobody looked."""

    last_day: date
    sizes: tuple[float | None, ...]

    @property
    def points(self) -> list[Point]:
        return self._points(self.sizes)

    @property
    def recent(self) -> list[Point]:
        """As many as a pace is reckoned from."""
        return self._points(self.sizes[-LOOKED_BACK.days :])

    def _points(self, last: Sequence[float | None]) -> list[Point]:
        day = self.last_day.toordinal() - len(last) + 1
        return [Point(date.fromordinal(day + n), size) for n, size in enumerate(last) if size is not None]


def with_day(before: Sizes | None, today: date, size: float, most_days: int) -> Sizes:
    """With what there is today, and no more than so many days. A day that was written stays as it is."""
    if before is None:
        return Sizes(today, (size,))
    missed = (today - before.last_day).days - 1
    if missed < 0:
        return before
    unknown = (None,) * min(missed, most_days)
    return Sizes(today, _from_the_first_known((*before.sizes, *unknown, size)[-most_days:]))


def _from_the_first_known(sizes: tuple[float | None, ...]) -> tuple[float | None, ...]:
    first = next(n for n, size in enumerate(sizes) if size is not None)
    return sizes[first:]


def full_on(points: Sequence[Point], most: float) -> date | None:
    """The day on which there will be `most`, at the pace of the last four weeks. Days come in order, each at most once.

    None where it is full already, where fewer than seven days are known, where it did not grow in the last seven, and where it
    would take more than a year. The pace is the median of those between any two days: one import, or one clean-up, is not
    taken for a habit.
    """
    recent = [point for point in points if point.day > points[-1].day - LOOKED_BACK]
    if len(recent) < LEAST_DAYS or not _grew(recent):
        return None
    pace, last = _pace(recent), recent[-1]
    days = (most - last.value) / pace if pace > 0 else 0
    return last.day + timedelta(days=ceil(days)) if 0 < days <= LONGEST.days else None


def _grew(points: Sequence[Point]) -> bool:
    """Over at least seven days, and in the last seven of them."""
    week_ago = points[-1].day - timedelta(days=LEAST_DAYS)
    before = [point for point in points if point.day <= week_ago]
    return bool(before) and points[-1].value > before[-1].value


def _pace(points: Sequence[Point]) -> float:
    """For each day: the slope of Theil and Sen. With bare numbers: it is reckoned for every database on every day."""
    known = [(point.day.toordinal(), point.value) for point in points]
    return median([(later - value) / (then - day) for (day, value), (then, later) in combinations(known, 2)])
