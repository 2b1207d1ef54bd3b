"""The gate: so many at once, a short queue, and whoever would wait too long is told at once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import pytest

from database_service.admission.bounds import Bounds
from database_service.admission.gate import Gate, Why, aside
from database_service.admission.sharing import Shared
from database_service.domain.errors import Overloaded
from database_service.observability.metrics import REGISTRY

FOR_EVER_S = 60


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def gate(time: Time, **bounds: float) -> Gate:
    return Gate(Bounds(**{"at_once": 1, "queue": 3, "longest_wait_s": FOR_EVER_S, **bounds}), time)  # type: ignore[arg-type]


async def a_moment() -> None:
    """Everybody who can go on does."""
    for _ in range(5):
        await asyncio.sleep(0)


class Request:
    """One request: it enters, stays until it is told to go on, and leaves."""

    def __init__(self, gate: Gate) -> None:
        self.inside = False
        self.may_wait = asyncio.Event()
        self.may_go = asyncio.Event()
        self.task = asyncio.create_task(self._pass(gate))

    async def _pass(self, gate: Gate) -> None:
        with await gate.enter():
            self.inside = True
            await self.may_go.wait()

    async def leaves(self) -> None:
        self.may_go.set()
        await self.task
        await a_moment()


async def arrive(gate: Gate, number: int = 1) -> list[Request]:
    requests = [Request(gate) for _ in range(number)]
    await a_moment()
    return requests


@asynccontextmanager
async def gone_afterwards(*requests: Request) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for request in requests:
            request.task.cancel()
        await asyncio.gather(*(request.task for request in requests), return_exceptions=True)


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("dbs_admission_refused_total", {"reason": reason}) or 0


@contextmanager
def one_more_refused(reason: str) -> Iterator[None]:
    before = refused(reason)
    yield
    assert refused(reason) == before + 1


async def test_who_finds_all_places_taken_waits_for_its_turn_in_order(time: Time) -> None:
    door = gate(time)
    first, second, third = await arrive(door, 3)
    async with gone_afterwards(first, second, third):
        assert (first.inside, second.inside, third.inside) == (True, False, False)
        await first.leaves()
        assert (second.inside, third.inside) == (True, False)
        await second.leaves()
        assert third.inside
        await third.leaves()
    assert (door.inside, door.queued) == (0, 0)


async def test_who_does_not_fit_in_the_queue_is_refused_on_arrival(time: Time) -> None:
    door = gate(time, queue=2)
    requests = await arrive(door, 3)
    async with gone_afterwards(*requests):
        with one_more_refused("queue_full"), pytest.raises(Overloaded):
            await door.enter()
        assert door.queued == 2, "somebody who waited was sent away"


async def stays(door: Gate, time: Time, seconds: float, times: int = 200) -> None:
    """So many requests that take so long each, one after the other."""
    for _ in range(times):
        with await door.enter():
            time.now += seconds


async def test_who_would_wait_too_long_is_refused_on_arrival(time: Time) -> None:
    door = gate(time, longest_wait_s=5, hurried_wait_s=5)
    await stays(door, time, seconds=2)
    requests = await arrive(door, 3)
    async with gone_afterwards(*requests):
        assert door.queued == 2, "two turns of two seconds are less than five"
        with one_more_refused("too_late"), pytest.raises(Overloaded):
            door.refuse_late()


async def test_after_a_refusal_the_queue_stays_short_until_nobody_was_refused_for_a_while(time: Time) -> None:
    door = gate(time, queue=2, longest_wait_s=FOR_EVER_S, hurried_wait_s=0.5, calm_after_s=1)
    await stays(door, time, seconds=1)
    requests = await arrive(door, 3)
    async with gone_afterwards(*requests):
        with pytest.raises(Overloaded):
            await door.enter()
        assert door.queued == 0
        with one_more_refused("too_late"), pytest.raises(Overloaded):
            await door.enter()
        time.now += 1.1
        (patient,) = await arrive(door)
        async with gone_afterwards(patient):
            assert door.queued == 1, "nobody was refused for a second, so there is room for a burst again"


async def test_when_a_flood_begins_the_newest_of_the_queue_are_refused_too(time: Time) -> None:
    door = gate(time, queue=4, hurried_wait_s=2, calm_after_s=1)
    await stays(door, time, seconds=1)
    requests = await arrive(door, 5)
    async with gone_afterwards(*requests):
        with pytest.raises(Overloaded):
            await door.enter()
        await a_moment()
        assert [request.task.done() for request in requests] == [False, False, False, True, True]
        assert door.queued == 2


async def test_where_nobody_leaves_who_waits_is_answered_all_the_same(time: Time) -> None:
    door = gate(time, longest_wait_s=0.01)
    requests = await arrive(door)
    async with gone_afterwards(*requests):
        with one_more_refused("waited"), pytest.raises(Overloaded):
            await door.enter()
        assert door.queued == 0


async def test_one_that_goes_away_while_it_waits_leaves_no_hole(time: Time) -> None:
    door = gate(time)
    first, second, third = await arrive(door, 3)
    async with gone_afterwards(first, second, third):
        second.task.cancel()
        await a_moment()
        assert door.queued == 1
        await first.leaves()
        assert third.inside


async def test_one_that_goes_away_in_the_moment_of_its_turn_gives_the_turn_on(time: Time) -> None:
    door = gate(time)
    first, second, third = await arrive(door, 3)
    async with gone_afterwards(first, second, third):
        first.may_go.set()
        await asyncio.sleep(0)  # it goes: the next one's turn has come, and that one has not noticed yet
        assert (door.queued, second.inside) == (1, False)
        second.task.cancel()
        await a_moment()
        assert (second.inside, third.inside) == (False, True)


async def test_a_request_that_fails_gives_its_place_back(time: Time) -> None:
    door = gate(time)
    with pytest.raises(ZeroDivisionError), await door.enter():
        raise ZeroDivisionError
    assert door.inside == 0


# -- standing aside ---------------------------------------------------------------------------------------------------


async def test_while_one_stands_aside_another_has_its_place_and_it_comes_back_at_once(time: Time) -> None:
    door = gate(time)
    with await door.enter():
        with aside(Why.CHANGE):
            (other,) = await arrive(door)
            assert other.inside
            assert (door.inside, door.aside(Why.CHANGE)) == (1, 1)
        assert (door.inside, door.aside(Why.CHANGE)) == (2, 0)
        await other.leaves()
    assert door.inside == 0


async def test_too_many_may_not_stand_aside_and_keep_their_place(time: Time) -> None:
    door = gate(time, at_once=9, waiting=1, watching=1, on_servers=1, at_provider=1)
    with ExitStack() as there:
        for why in Why:
            there.enter_context(await door.enter())
            there.enter_context(aside(why))
        there.enter_context(await door.enter())
        for why in Why:
            with one_more_refused(f"{why}_full"), pytest.raises(Overloaded), aside(why):
                pass
        assert door.inside == 1


async def test_standing_aside_twice_is_standing_aside_once(time: Time) -> None:
    door = gate(time, on_servers=1)
    with await door.enter():
        with aside(Why.SERVER), aside(Why.CHANGE):
            assert (door.inside, door.aside(Why.SERVER), door.aside(Why.CHANGE)) == (0, 1, 0)
        assert (door.inside, door.aside(Why.SERVER)) == (1, 0)


async def test_what_is_waited_for_aside_does_not_count_as_work(time: Time) -> None:
    door = gate(time, longest_wait_s=5)
    for _ in range(200):
        with await door.enter(), aside(Why.CHANGE):
            time.now += 30
    requests = await arrive(door, 4)
    async with gone_afterwards(*requests):
        assert door.queued == 3, "a thousand idle long-polls would have shut the door"


async def test_where_there_is_no_gate_nothing_happens() -> None:
    async def worker() -> None:
        with aside(Why.SERVER):
            pass

    await worker()


# -- sharing ----------------------------------------------------------------------------------------------------------


async def test_many_who_ask_at_once_cost_one_look_and_the_next_one_looks_anew() -> None:
    looks, seen, shared = 0, asyncio.Event(), Shared[int]()

    async def look() -> int:
        nonlocal looks
        looks += 1
        await seen.wait()
        return looks

    asked = [asyncio.create_task(shared.shared(look)) for _ in range(5)]
    await a_moment()
    asked[0].cancel()
    seen.set()
    assert await asyncio.gather(*asked[1:]) == [1] * 4
    assert await shared.shared(look) == 2
