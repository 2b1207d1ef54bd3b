"""An instance's life between its two worlds, driven by the sweep alone."""

from datetime import timedelta

import pytest

from instance_service.actions import steer
from instance_service.actions.create import create
from instance_service.domain.databases import State
from instance_service.domain.errors import InstanceBusy, InstanceEnded
from instance_service.domain.instances import Instance, Status
from instance_service.domain.plans import Tier
from instance_service.domain.workloads import Address
from instance_service.reconcilers.sweep import sweep
from instance_support.house import WHO, House, ask


async def _running(house: House) -> Instance:
    made = await create(house.deps, ask(), WHO)
    return await house.until(made.id, Status.RUNNING)


async def test_an_instance_with_room_for_its_database_goes_straight_to_running(house: House) -> None:
    running = await _running(house)
    assert await house.trace(running.id) == ["pending", "starting", "running"]
    assert running.address == Address("127.0.0.1", 8000)


async def test_one_without_room_waits_for_its_database_and_then_runs(house: House) -> None:
    house.databases.room = False
    made = await create(house.deps, ask(), WHO)
    await house.until(made.id, Status.WAITING_FOR_DATABASE)
    await house.pass_time(timedelta(minutes=5))
    assert await house.status(made.id) is Status.WAITING_FOR_DATABASE
    house.databases.come()
    await house.until(made.id, Status.RUNNING)
    assert await house.trace(made.id) == ["pending", "waiting_for_database", "starting", "running"]


async def test_a_database_service_that_is_away_for_minutes_delays_and_loses_nothing(house: House) -> None:
    house.databases.away = True
    made = await create(house.deps, ask(), WHO)
    await house.pass_time(timedelta(minutes=5))
    waiting = await house.instance(made.id)
    assert waiting.status is Status.PENDING
    assert waiting.last_error == "database-service does not answer"
    house.databases.away = False
    await house.until(made.id, Status.RUNNING)
    assert house.databases.allocations == 1


async def test_when_the_budget_for_its_database_is_spent_that_is_said_and_it_still_comes_back(house: House) -> None:
    house.databases.room = False
    made = await create(house.deps, ask(), WHO)
    await house.pass_time(timedelta(minutes=31))
    given_up = await house.instance(made.id)
    assert given_up.status is Status.ERROR
    assert "not ready in time" in (given_up.last_error or "")
    house.databases.come()
    await house.pass_time(timedelta(minutes=2))
    assert await house.status(made.id) is Status.RUNNING


async def test_what_database_service_refuses_is_an_error_with_its_reason(house: House) -> None:
    house.databases.refuses = "plan_has_no_dedicated"
    made = await create(house.deps, ask(), WHO)
    refused = await house.until(made.id, Status.ERROR)
    assert "plan_has_no_dedicated" in (refused.last_error or "")


async def test_a_workload_that_cannot_be_started_is_tried_and_then_called_an_error_and_comes_back(house: House) -> None:
    house.workloads.fails = "There is no such image."
    made = await create(house.deps, ask(), WHO)
    failed = await house.until(made.id, Status.ERROR)
    assert failed.last_error == "There is no such image."
    house.workloads.fails = None
    await house.pass_time(timedelta(minutes=2))
    assert await house.status(made.id) is Status.RUNNING


async def test_one_that_cannot_run_is_tried_for_ever_and_does_not_fill_its_events(house: House) -> None:
    house.workloads.fails = "There is no such image."
    made = await create(house.deps, ask(), WHO)
    await house.until(made.id, Status.ERROR)
    before, tried = await house.trace(made.id), (await house.instance(made.id)).attempts
    await house.pass_time(timedelta(minutes=30))
    after = await house.instance(made.id)
    assert await house.trace(made.id) == before == ["pending", "starting", "error"]
    assert after.attempts > tried + 10
    assert after.last_error == "There is no such image."


async def test_a_workload_that_never_gets_well_is_an_error_with_what_its_health_check_says(house: House) -> None:
    house.workloads.healthy = False
    made = await create(house.deps, ask(), WHO)
    await house.pass_time(timedelta(minutes=4))
    assert (await house.status(made.id), (await house.instance(made.id)).last_error) == (Status.ERROR, "500")
    house.workloads.healthy = True
    await house.pass_time(timedelta(minutes=2))
    assert await house.status(made.id) is Status.RUNNING


async def test_a_running_one_becomes_unhealthy_only_after_several_looks_and_well_again_by_itself(house: House) -> None:
    running = await _running(house)
    house.workloads.healthy = False
    house.clock.forward(timedelta(seconds=11))
    await sweep(house.deps)
    assert await house.status(running.id) is Status.RUNNING
    await house.until(running.id, Status.UNHEALTHY)
    house.workloads.healthy = True
    await house.until(running.id, Status.RUNNING)


async def test_what_cannot_be_looked_at_makes_nothing_ill(house: House) -> None:
    running = await _running(house)
    house.workloads.away = house.databases.away = True
    await house.pass_time(timedelta(minutes=5))
    assert await house.status(running.id) is Status.RUNNING


async def test_a_workload_that_ended_is_started_again(house: House) -> None:
    running = await _running(house)
    house.workloads.stopped.add(running.id)
    house.clock.forward(timedelta(seconds=11))
    await sweep(house.deps)
    await house.until(running.id, Status.RUNNING)
    assert len(house.workloads.begun) == 2


@pytest.mark.parametrize("during", [Status.CHANGING_PLAN, Status.ROTATING])
async def test_a_workload_that_dies_while_something_is_done_to_its_database_is_begun_again_at_once(
    house: House, during: Status
) -> None:
    running = await _running(house)
    house.databases.operation_takes, house.databases.rotation_takes = 30, 30
    if during is Status.ROTATING:
        await steer.rotate(house.deps, running.id, WHO)
    else:
        await steer.change_plan(house.deps, running.id, Tier.PREMIUM, WHO)
    await house.pass_time(timedelta(seconds=5))
    house.workloads.stopped.add(running.id)
    await house.pass_time(timedelta(seconds=10))
    assert await house.status(running.id) is during
    assert [spec.memory_limit for spec in house.workloads.begun] == [256 * 1024**2] * 2
    assert house.workloads.stopped == set()
    assert (await house.until(running.id, Status.RUNNING)).last_error is None


@pytest.mark.parametrize("during", [Status.CHANGING_PLAN, Status.ROTATING])
async def test_one_that_dies_at_every_start_does_not_hold_up_what_is_done_to_its_database(
    house: House, during: Status
) -> None:
    running = await _running(house)
    house.databases.operation_takes, house.databases.rotation_takes = 3, 3
    house.workloads.dies = True
    house.workloads.stopped.add(running.id)
    if during is Status.ROTATING:
        await steer.rotate(house.deps, running.id, WHO)
    else:
        await steer.change_plan(house.deps, running.id, Tier.PREMIUM, WHO)
    await house.until(running.id, Status.ERROR)
    house.workloads.dies = False
    await house.pass_time(timedelta(minutes=2))
    assert await house.status(running.id) is Status.RUNNING


async def test_while_one_is_being_deleted_its_name_is_not_answered_for(house: House) -> None:
    running = await _running(house)
    await steer.delete(house.deps, running.id, WHO)
    with pytest.raises(InstanceBusy, match="deleting"):
        await create(house.deps, running.ask, WHO)
    await house.until(running.id, Status.DELETED)
    again = await create(house.deps, running.ask, WHO)
    assert again.id != running.id
    await house.until(again.id, Status.RUNNING)


async def test_the_key_of_one_that_was_deleted_is_spent(house: House) -> None:
    wish = ask()
    made = await create(house.deps, wish, WHO, request_key="once")
    await steer.delete(house.deps, made.id, WHO)
    with pytest.raises(InstanceEnded, match="deleting"):
        await create(house.deps, wish, WHO, request_key="once")
    await house.until(made.id, Status.DELETED)
    with pytest.raises(InstanceEnded, match="deleted"):
        await create(house.deps, wish, WHO, request_key="once")


async def test_what_a_workload_says_last_can_always_be_written_down(house: House) -> None:
    running = await _running(house)
    house.workloads.stopped.add(running.id)
    house.workloads.last_words = "torn \x00\x1b[31m\ud800 words"
    house.workloads.fails = "no \x00 image"
    house.clock.forward(timedelta(seconds=11))
    await sweep(house.deps)
    starting = await house.until(running.id, Status.STARTING)
    house.clock.forward(timedelta(seconds=2))
    await sweep(house.deps)
    assert (await house.instance(starting.id)).last_error == "no   image"
    async with house.deps.db.connection() as conn:
        assert "torn   [31m  words" in await conn.fetchval("SELECT string_agg(why, '') FROM events")


async def test_a_defect_is_a_failure_that_is_said_and_tried_again(house: House) -> None:
    running, neighbour = await _running(house), await _running(house)
    house.workloads.defect = running.id
    house.clock.forward(timedelta(seconds=11))
    await sweep(house.deps)
    held = await house.instance(running.id)
    assert (held.status, held.attempts, held.last_error) == (Status.RUNNING, 1, "a defect: ZeroDivisionError")
    assert held.due_at
    assert held.due_at > house.clock()
    assert (await house.instance(neighbour.id)).last_error is None
    house.workloads.defect = None
    await house.pass_time(timedelta(seconds=20))
    mended = await house.instance(running.id)
    assert (mended.attempts, mended.last_error) == (0, None)


async def test_a_moved_database_restarts_the_workload_with_its_new_address(house: House) -> None:
    running = await _running(house)
    house.databases.move(running.id, 6000)
    house.clock.forward(timedelta(seconds=11))
    await sweep(house.deps)
    await house.until(running.id, Status.RUNNING)
    assert house.workloads.specs[running.id].login.address.port == 6000
    assert (await house.trace(running.id))[-2:] == ["starting", "running"]


async def test_a_rotation_restarts_the_workload_with_the_new_login_once(house: House) -> None:
    running = await _running(house)
    await steer.rotate(house.deps, running.id, WHO)
    await steer.rotate(house.deps, running.id, WHO)
    await house.until(running.id, Status.RUNNING)
    assert house.databases.made[str(running.id)].logins == ["login_1", "login_2"]
    assert house.workloads.specs[running.id].login.user == "login_2"
    assert await house.trace(running.id) == ["pending", "starting", "running", "rotating", "starting", "running"]


async def test_a_change_of_plan_is_followed_with_its_progress_and_ends_on_the_new_plan(house: House) -> None:
    running = await _running(house)
    house.databases.operation_takes = 3
    await steer.change_plan(house.deps, running.id, Tier.PREMIUM, WHO)
    house.clock.forward(timedelta(seconds=2))
    await sweep(house.deps)
    changing = await house.instance(running.id)
    assert (changing.status, changing.progress) == (Status.CHANGING_PLAN, {"phase": "copying", "left": 3})
    done = await house.until(running.id, Status.RUNNING)
    assert (done.plan_tier, done.placed_tier, done.progress) == (Tier.PREMIUM, Tier.PREMIUM, None)
    assert house.workloads.specs[running.id].memory_limit == 2048 * 1024**2


@pytest.mark.parametrize("how", ["refused", "failed"])
async def test_a_plan_that_cannot_be_had_leaves_it_running_on_the_old_one_and_says_why(house: House, how: str) -> None:
    running = await _running(house)
    house.databases.refuses = "move_blocked" if how == "refused" else None
    house.databases.plan_fails = "the copy differs"
    await steer.change_plan(house.deps, running.id, Tier.PREMIUM, WHO)
    await sweep(house.deps)
    house.databases.refuses = None
    kept = await house.instance(running.id)
    assert (kept.status, kept.plan_tier) == (Status.STARTING, Tier.FREE)
    assert ("move_blocked" if how == "refused" else "the copy differs") in (kept.last_error or "")
    await house.until(running.id, Status.RUNNING)
    assert len(house.workloads.begun) == 1


async def test_a_stopped_one_keeps_its_database_and_starts_again(house: House) -> None:
    running = await _running(house)
    await steer.stop(house.deps, running.id, WHO)
    stopped = await house.until(running.id, Status.STOPPED)
    assert (stopped.due_at, stopped.address) == (None, None)
    assert house.databases.made[str(running.id)].state is State.READY
    await steer.start(house.deps, running.id, WHO)
    await house.until(running.id, Status.RUNNING)


async def test_one_that_is_stopped_while_it_waits_for_its_database_is_not_started_when_that_comes(house: House) -> None:
    house.databases.room = False
    made = await create(house.deps, ask(), WHO)
    await house.until(made.id, Status.WAITING_FOR_DATABASE)
    await steer.stop(house.deps, made.id, WHO)
    house.databases.come()
    await house.until(made.id, Status.STOPPED)
    assert house.workloads.begun == []
    await steer.start(house.deps, made.id, WHO)
    await house.until(made.id, Status.RUNNING)


async def test_a_deleted_one_leaves_no_workload_and_releases_its_database(house: House) -> None:
    running = await _running(house)
    await steer.delete(house.deps, running.id, WHO)
    await house.until(running.id, Status.DELETED)
    assert house.workloads.specs == {}
    assert house.databases.made[str(running.id)].state is State.ENDED
    assert (await steer.delete(house.deps, running.id, WHO)).status is Status.DELETED


async def test_one_that_never_had_a_database_is_deleted_too(house: House) -> None:
    house.databases.away = True
    made = await create(house.deps, ask(), WHO)
    await sweep(house.deps)
    await steer.delete(house.deps, made.id, WHO)
    house.databases.away = False
    await house.until(made.id, Status.DELETED)


async def test_a_database_that_is_gone_is_never_replaced_by_an_empty_one(house: House) -> None:
    running = await _running(house)
    house.databases.made.clear()
    house.workloads.stopped.add(running.id)
    house.clock.forward(timedelta(seconds=11))
    await sweep(house.deps)
    lost = await house.until(running.id, Status.ERROR)
    assert "no longer knows its database" in (lost.last_error or "")
    await house.pass_time(timedelta(minutes=5))
    assert house.databases.allocations == 1


async def test_no_row_holds_a_password(house: House) -> None:
    running = await _running(house)
    async with house.deps.db.connection() as conn:
        rows = await conn.fetchval("SELECT string_agg(to_jsonb(i)::text, '') FROM instances i")
    assert str(running.id) in rows
    assert "password of" not in rows
