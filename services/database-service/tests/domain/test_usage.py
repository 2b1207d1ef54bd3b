"""What follows from a size: levels that are entered and left apart, a stop that ends by itself, rates between samples."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database_service.domain.ids import DatabaseId, ServerId
from database_service.domain.plans import GIB, PLANS, Tier
from database_service.domain.usage import (
    ENTERED_AT,
    Counters,
    Level,
    Rates,
    Sample,
    Standing,
    Stop,
    Usage,
    judge,
    take_in,
)

FREE = PLANS[Tier.FREE]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ID, HERE, THERE = DatabaseId(UUID(int=1)), ServerId(UUID(int=2)), ServerId(UUID(int=3))


def after(*shares: float) -> Standing:
    standing = Standing(Tier.FREE)
    for share in shares:
        standing = judge(standing, ceil(share * GIB), FREE)
    return standing


@pytest.mark.parametrize(
    ("shares", "level"),
    [
        ((0.1,), Level.OK),
        ((0.8,), Level.WARNING),
        ((0.96,), Level.CRITICAL),
        ((1.0,), Level.STOPPED),
        ((0.81, 0.76), Level.WARNING),
        ((0.81, 0.74), Level.OK),
        ((0.96, 0.91), Level.CRITICAL),
        ((0.96, 0.89), Level.WARNING),
        ((1.1, 0.91), Level.STOPPED),
        ((1.1, 0.89), Level.WARNING),
        ((1.1, 0.1), Level.OK),
    ],
)
def test_a_level_is_entered_higher_than_it_is_left(shares: tuple[float, ...], level: Level) -> None:
    assert after(*shares).level is level


def test_writes_are_stopped_at_the_plans_storage_and_allowed_again_below_nine_tenths_of_it() -> None:
    assert [after(*shares).stop for shares in ((0.99,), (1.0,), (1.0, 0.9), (1.0, 0.89))] == [
        Stop.NONE, Stop.WRITES, Stop.WRITES, Stop.NONE,
    ]  # fmt: skip


def test_one_that_goes_on_growing_is_shut_and_one_that_cleans_by_a_second_copy_is_not() -> None:
    assert after(1.1, 2.2).stop is Stop.WRITES
    assert after(1.1, 2.76).stop is Stop.DOOR
    assert after(3.0, 6.0).stop is Stop.WRITES, "it was that large when it was stopped"
    assert after(3.0, 7.6).stop is Stop.DOOR


def test_a_door_stays_shut_until_there_is_room() -> None:
    assert after(1.1, 2.8, 1.2).stop is Stop.DOOR
    assert after(1.1, 2.8, 0.8).stop is Stop.NONE


@pytest.mark.parametrize(
    ("share", "level", "stop"), [(0.98, Level.CRITICAL, Stop.NONE), (3, Level.STOPPED, Stop.WRITES)]
)
def test_another_plan_is_judged_without_the_past(share: float, level: Level, stop: Stop) -> None:
    starter = PLANS[Tier.STARTER]
    shut = Standing(Tier.FREE, Level.STOPPED, Stop.DOOR, 2 * GIB)
    standing = judge(shut, int(share * starter.storage_bytes), starter)
    assert (standing.tier, standing.level, standing.stop) == (Tier.STARTER, level, stop)


@given(st.lists(st.floats(0, 4), min_size=1, max_size=20))
def test_a_level_always_fits_the_size(shares: list[float]) -> None:
    standing = after(*shares)
    share = ceil(shares[-1] * GIB) / GIB
    assert (standing.stop is Stop.NONE) == (standing.level is not Level.STOPPED)
    assert (standing.stopped_bytes is None) == (standing.level is not Level.STOPPED)
    assert share < 1 or standing.level is Level.STOPPED
    assert share >= 0.75 or standing.level is Level.OK
    assert share >= 0.9 or standing.level not in (Level.CRITICAL, Level.STOPPED)
    assert judge(standing, ceil(shares[-1] * GIB), FREE).level is standing.level, "the same size twice changes nothing"
    assert set(ENTERED_AT) == set(Level) - {Level.OK}


# -- samples ----------------------------------------------------------------------------------------------------------


def a_sample(size_bytes: int | None = 100, **counted: float) -> Sample:
    counters = replace(Counters(0, 0, 0, 0.0), **counted)  # type: ignore[arg-type]
    return Sample("db", size_bytes, 7, 2, None, counters)


def sampled(before: Usage | None, sample: Sample, server: ServerId = HERE, s: float = 0) -> Usage:
    return take_in(before, sample, ID, server, NOW + timedelta(seconds=s))


def test_rates_are_what_was_counted_between_two_samples_in_each_second() -> None:
    first = sampled(None, a_sample(transactions=10, blocks=100, temp_bytes=0, busy_s=1.0))
    second = sampled(first, a_sample(transactions=30, blocks=300, temp_bytes=20, busy_s=6.0), s=10)
    assert first.rates is None
    assert second.rates == Rates(2.0, 20.0, 2.0, 0.5)


def test_there_are_no_rates_over_a_restart_nor_over_a_move() -> None:
    first = sampled(None, a_sample(transactions=10))
    assert sampled(first, a_sample(transactions=9), s=10).rates is None
    assert sampled(first, a_sample(transactions=20), THERE, 10).rates is None


def test_a_size_that_was_not_taken_is_as_it_was() -> None:
    first = sampled(None, a_sample())
    second = sampled(first, a_sample(None), s=10)
    assert (second.size_bytes, second.sized_at, second.sampled_at) == (100, NOW, NOW + timedelta(seconds=10))
    assert sampled(first, a_sample(None), THERE, 10).written is None, "another server counts anew"
