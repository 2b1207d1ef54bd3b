"""What grew for a week tells when it is full; what shrinks, rests, or was looked at too seldom tells nothing."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from database_service.domain.growth import LEAST_DAYS, LONGEST, Point, Sizes, full_on, with_day

TODAY = date(2026, 11, 22)
DAY = timedelta(days=1)
VALUES = st.lists(st.floats(0, 2**50, width=32), min_size=1, max_size=40)


def days(*values: float) -> list[Point]:
    """One for each day, the last of today."""
    return [Point(TODAY - DAY * n, value) for n, value in zip(range(len(values) - 1, -1, -1), values, strict=True)]


def told(*values: float, most: float = 100) -> int | None:
    found = full_on(days(*values), most)
    return (found - TODAY).days if found else None


def test_what_grows_by_so_much_a_day_is_full_when_what_is_left_is_gone() -> None:
    assert told(*range(10, 21)) == 80
    assert told(*range(10, 21), most=21) == 1
    assert told(*[n * 1.5 for n in range(10)], most=20) == 5, "after 4.3 days it is not full on the fourth"


@pytest.mark.parametrize(
    "values",
    [
        [10] * 20,
        range(30, 10, -1),
        [1, 2, 3, 4, 5, 6],
        [*range(10, 30), *[30] * 8],
        range(90, 101),
        range(120, 140),
        [n / 100 for n in range(20)],
        [5],
    ],
    ids=["flat", "shrinks", "six days", "rests since a week", "full", "beyond it", "in years", "one day"],
)
def test_where_nothing_can_be_said_nothing_is_said(values: list[float]) -> None:
    assert told(*values) is None


def test_seven_days_that_were_looked_at_are_needed_however_far_apart_they_are() -> None:
    seldom = [Point(TODAY - DAY * n, 50 - n) for n in (24, 16, 8, 4, 2, 0)]
    assert full_on(seldom, 100) is None
    assert full_on([Point(TODAY - DAY * 26, 24), *seldom], 100) == TODAY + DAY * 50


def test_one_import_and_one_clean_up_are_not_taken_for_a_habit() -> None:
    assert told(*[10] * 17, *[60] * 3) is None
    assert told(*range(50, 70), *range(40, 50)) == 51


def test_growth_of_long_ago_does_not_count() -> None:
    assert told(*range(0, 60, 2), *range(60, 88), most=100) == 13


@given(VALUES, st.floats(1, 1e15))
def test_what_is_told_lies_between_tomorrow_and_a_year_and_only_what_grows_is_told_of(
    values: list[float], most: float
) -> None:
    found = full_on(days(*values), most)
    if found is not None:
        assert TODAY < found <= TODAY + LONGEST
        assert values[-1] < most
        assert len(values) > LEAST_DAYS
        assert any(after > before for before, after in pairwise(values))


@given(VALUES)
def test_what_never_grows_is_never_told_of(values: list[float]) -> None:
    assert full_on(days(*sorted(values, reverse=True)), 1e16) is None


@given(st.lists(st.integers(0, 1000), min_size=8, max_size=30), st.integers(1, 1000))
def test_more_room_lasts_no_shorter(values: list[int], more: int) -> None:
    most = max(values) + 1
    sooner, later = full_on(days(*values), most), full_on(days(*values), most + more)
    assume(sooner and later)
    assert sooner <= later  # type: ignore[operator]


def test_a_day_that_nobody_looked_is_unknown_and_a_day_that_is_written_stays() -> None:
    written = with_day(None, TODAY, 1, 90)
    written = with_day(written, TODAY + 3 * DAY, 4, 90)
    assert written == Sizes(TODAY + 3 * DAY, (1, None, None, 4))
    assert with_day(written, TODAY + 3 * DAY, 5, 90) == with_day(written, TODAY, 5, 90) == written
    assert written.points == [Point(TODAY, 1), Point(TODAY + 3 * DAY, 4)]


@given(st.dictionaries(st.integers(0, 400), st.integers(0, 2**50), min_size=1), st.integers(1, 100))
def test_the_last_days_are_kept_and_no_others(looks: dict[int, int], most: int) -> None:
    kept: Sizes | None = None
    for day in sorted(looks):
        kept = with_day(kept, TODAY + DAY * day, looks[day], most)
    assert kept
    assert len(kept.sizes) <= most
    last = max(looks)
    assert kept.points == [Point(TODAY + DAY * day, size) for day, size in sorted(looks.items()) if day > last - most]
