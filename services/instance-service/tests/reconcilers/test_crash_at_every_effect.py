"""The worker dies at each of its effects in turn, and comes back: nothing is lost, nothing is done twice.

An effect is a committed write on our own database, something database-service is made to do, or an act on a workload. Each
counts before it is done, and after it is done and before it is known.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest

from instance_service.actions import steer
from instance_service.actions.create import create
from instance_service.domain.databases import State
from instance_service.domain.ids import InstanceId
from instance_service.domain.instances import Status
from instance_service.domain.plans import Tier
from instance_service.reconcilers import instances as steps
from instance_service.reconcilers.sweep import sweep
from instance_service.store import instances
from instance_service.store.pool import Conn, Db
from instance_support.house import WHO, House, ask, open_house
from instance_support.worlds import FakeDatabases, FakeWorkloads
from support.clock import Clock
from support.cluster import execute
from support.faults import Fate, Fated, Killed

ASK = ask("the-one")
AFTER_ANY_LEASE = timedelta(seconds=100)
EMPTY = "TRUNCATE instances, events RESTART IDENTITY"


class FatedDb(Fated, Db):
    """Our own database."""


@dataclass(frozen=True)
class Scenario:
    name: str
    act: Callable[[House], Awaitable[object]]
    """A caller's request; made again after the crash, as a caller does who got no answer."""
    ends: Status
    check: Callable[[House, InstanceId], Awaitable[object]]
    begins: Status | None = Status.RUNNING


async def _create(house: House) -> None:
    await create(house.deps, ASK, WHO, request_key="k-1")


async def _the_one(house: House) -> InstanceId:
    """Found by its key also when it is deleted; else asked for."""
    async with house.deps.db.connection() as conn:
        there = await instances.of_key(conn, "k-1")
    return (there or await create(house.deps, ASK, WHO, request_key="k-1")).id


async def _stop(house: House) -> None:
    await steer.stop(house.deps, await _the_one(house), WHO)


async def _start(house: House) -> None:
    await steer.start(house.deps, await _the_one(house), WHO)


async def _rotate(house: House) -> None:
    if len(house.databases.made[str(await _the_one(house))].logins) == 1:
        await steer.rotate(house.deps, await _the_one(house), WHO)


async def _change_plan(house: House) -> None:
    await steer.change_plan(house.deps, await _the_one(house), Tier.PREMIUM, WHO)


async def _delete(house: House) -> None:
    await steer.delete(house.deps, await _the_one(house), WHO)


async def _move(house: House) -> None:
    house.databases.move(await _the_one(house), 6000)
    house.clock.forward(timedelta(seconds=15))


async def _runs_once(house: House, instance_id: InstanceId) -> None:
    assert list(house.workloads.specs) == [instance_id]
    assert house.workloads.stopped == set()
    assert house.databases.allocations == 1


async def _runs_with_a_second_login(house: House, instance_id: InstanceId) -> None:
    await _runs_once(house, instance_id)
    assert house.databases.made[str(instance_id)].logins == ["login_1", "login_2"]
    assert house.workloads.specs[instance_id].login.user == "login_2"


async def _runs_on_the_new_plan(house: House, instance_id: InstanceId) -> None:
    await _runs_once(house, instance_id)
    assert len(house.databases.made[str(instance_id)].keys) == 1
    assert house.workloads.specs[instance_id].cpu_limit == 2
    assert (await house.instance(instance_id)).placed_tier is Tier.PREMIUM


async def _runs_where_it_moved(house: House, instance_id: InstanceId) -> None:
    await _runs_once(house, instance_id)
    assert house.workloads.specs[instance_id].login.address.port == 6000


async def _rests_with_its_database(house: House, instance_id: InstanceId) -> None:
    assert house.workloads.stopped == {instance_id}
    assert house.databases.made[str(instance_id)].state is State.READY


async def _nothing_is_left(house: House, instance_id: InstanceId) -> None:
    assert house.workloads.specs == {}
    assert house.databases.made[str(instance_id)].state is State.ENDED


SCENARIOS = (
    Scenario("create", _create, Status.RUNNING, _runs_once, begins=None),
    Scenario("stop", _stop, Status.STOPPED, _rests_with_its_database),
    Scenario("start", _start, Status.RUNNING, _runs_once, begins=Status.STOPPED),
    Scenario("rotate", _rotate, Status.RUNNING, _runs_with_a_second_login),
    Scenario("change plan", _change_plan, Status.RUNNING, _runs_on_the_new_plan),
    Scenario("follow a move", _move, Status.RUNNING, _runs_where_it_moved),
    Scenario("delete", _delete, Status.DELETED, _nothing_is_left),
)


class Lab:
    """Lives over one database that is emptied before each run. The worlds outlive a death, as they do outside."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    async def run(self, scenario: Scenario, at: int) -> Fate:
        """One life that dies at effect `at` (0: never), and the one after it. Returns what was counted."""
        await execute(self.dsn, EMPTY)
        fate, clock = Fate(), Clock()
        databases = FakeDatabases(operation_takes=1, effect=fate.outside)
        workloads = FakeWorkloads(effect=fate.outside)
        open_life = partial(open_house, self.dsn, clock, databases, workloads)
        try:
            async with open_life(make_db=partial(FatedDb, fate=fate)) as house:
                await self._prepare(house, scenario)
                fate.seen, fate.at = 0, at
                await scenario.act(house)
                await self._settle(house, scenario)
        except BaseExceptionGroup as group:
            if group.split(Killed)[1] is not None:
                raise
        except Killed:
            pass
        fate.spare()
        async with open_life() as house:
            clock.forward(AFTER_ANY_LEASE)
            await scenario.act(house)
            await self._settle(house, scenario)
            await scenario.check(house, await _the_one(house))
            assert await _no_lease_is_left(house)
        return fate

    async def _prepare(self, house: House, scenario: Scenario) -> None:
        if scenario.begins is None:
            return
        instance_id = await _the_one(house)
        await house.until(instance_id, Status.RUNNING)
        if scenario.begins is Status.STOPPED:
            await steer.stop(house.deps, instance_id, WHO)
            await house.until(instance_id, Status.STOPPED)

    async def _settle(self, house: House, scenario: Scenario) -> None:
        await sweep(house.deps)
        await house.until(await _the_one(house), scenario.ends)


async def _no_lease_is_left(house: House) -> bool:
    async with house.deps.db.connection() as conn:
        leased = await conn.fetchval("SELECT count(*) FROM instances WHERE lease_token IS NOT NULL")
    return leased == 0


@pytest.fixture
def lab(own_dsn: str) -> Lab:
    return Lab(own_dsn)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
async def test_killed_at_any_effect_it_comes_back_whole(
    scenario: Scenario, lab: Lab, record_property: Callable[[str, object], None]
) -> None:
    counted = (await lab.run(scenario, 0)).seen
    assert counted > 0
    died = 0
    for at in range(1, counted + 1):
        try:
            fate = await lab.run(scenario, at)
        except AssertionError as e:
            raise AssertionError(f"killed at effect {at} of {counted} of “{scenario.name}”: {e}") from e
        died += fate.where != ""
    record_property("crash_points", f"instance, {scenario.name}: killed at {died} of {counted} effects")
    assert died >= counted * 0.9


# -- the suite bites --------------------------------------------------------------------------------------------------


async def _caught(lab: Lab, scenario: Scenario) -> bool:
    """Whether some death of this scenario is found out."""
    counted = (await lab.run(scenario, 0)).seen
    for at in range(1, counted + 1):
        try:
            await lab.run(scenario, at)
        except AssertionError:
            return True
    return False


async def test_a_rotation_without_a_name_stored_beforehand_is_caught(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_errand", lambda _: uuid4())
    assert await _caught(lab, SCENARIOS[3])


async def test_a_row_that_stays_with_a_dead_worker_is_caught(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = instances.claim

    async def for_ever(conn: Conn, instance_id: InstanceId, now: datetime, lease: timedelta, token: UUID) -> object:
        return await real(conn, instance_id, now, lease * 1000, token)

    monkeypatch.setattr(instances, "claim", for_ever)
    assert await _caught(lab, SCENARIOS[0])
