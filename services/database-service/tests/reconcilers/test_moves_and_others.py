"""What others do while a database moves, before, and after: nothing of it costs a row, a seat or a promise."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from database_service.actions.allocate import allocate
from database_service.actions.change_plan import Wanted, change_plan
from database_service.actions.cordon_server import cordon, uncordon
from database_service.actions.move_databases import drain, move, roll_back
from database_service.actions.retire_server import retire
from database_service.actions.rotate import rotate
from database_service.actions.steer_operation import cancel
from database_service.actions.survey_move import of_move
from database_service.domain.errors import (
    DatabaseBusy,
    NoRoom,
    SameServer,
    ServerNotEmpty,
    ServerNotFound,
    TenantServerUnavailable,
)
from database_service.domain.ids import ServerId
from database_service.domain.moves import Phase
from database_service.domain.operations import State
from database_service.domain.plans import PLANS, Tier
from database_service.reconcilers import capacity
from database_service.reconcilers import operations as operation_steps
from database_service.reconcilers.moving import crossing
from reconcilers.test_moves import begun, done
from support.house import WHO, ask
from support.two_pools import ROWS, A, Two

# -- servers ----------------------------------------------------------------------------------------------------------


async def test_who_retires_the_target_in_the_moment_of_the_switch_is_refused(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The switch holds its rows while the other one begins."""
    real, switching, go = crossing.note, asyncio.Event(), asyncio.Event()

    async def slow(*args: object, action: str) -> None:
        if action == "database.moved":
            switching.set()
            await go.wait()
        await real(*args, action=action)  # type: ignore[arg-type]

    monkeypatch.setattr(crossing, "note", slow)
    operation = await begun(two)
    await two.until(Phase.VERIFYING, operation)
    step = asyncio.create_task(operation_steps.step(two.house.deps, operation.id))
    await switching.wait()
    retiring = asyncio.create_task(retire(two.house.deps, two.second.id, WHO))
    async with asyncio.timeout(20):
        while not await two.house.value("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110  it queues
            await asyncio.sleep(0.01)
    go.set()
    await step
    with pytest.raises(ServerNotEmpty):
        await retiring
    await two.house.finished(operation.id)
    assert await two.is_on(two.second)
    assert await two.rows() == ROWS
    await two.sound()


async def test_a_server_that_somebody_moves_to_is_not_retired(two: Two) -> None:
    operation = await begun(two)
    await two.until(Phase.COPYING, operation)
    with pytest.raises(ServerNotEmpty):
        await retire(two.house.deps, two.second.id, WHO)
    await two.house.finished(operation.id)
    assert await two.is_on(two.second)


@pytest.mark.parametrize("phase", [Phase.SEATING, Phase.COPYING])
async def test_nobody_arrives_on_a_server_that_was_cordoned_on_the_way(two: Two, phase: Phase) -> None:
    operation = await move(two.house.deps, A, two.second.id, WHO)
    await two.until(phase, operation)
    await cordon(two.house.deps, two.second.id, WHO, "a broken disk")
    finished = await two.house.finished(operation.id)
    assert (finished.state, finished.last_error) == (State.FAILED, f"a: the server {two.second.name} is cordoned")
    assert await two.is_on(two.first)
    await two.sound()


async def test_nobody_arrives_on_a_pool_that_is_drained(two: Two) -> None:
    operation = await move(two.house.deps, A, two.second.id, WHO)
    await two.until(Phase.COPYING, operation)
    drained = await two.house.finished((await drain(two.house.deps, two.second.id, WHO)).id)
    await two.house.finished(operation.id)
    assert drained.state is State.SUCCEEDED
    assert await two.is_on(two.first)


async def test_a_database_is_not_late_because_others_were_before_it(two: Two) -> None:
    await allocate(two.house.deps, ask("b"), WHO)
    operation = await drain(two.house.deps, two.first.id, WHO)
    two.house.clock.forward(two.house.deps.policy.move_seat_timeout + timedelta(minutes=1))
    finished = await two.house.finished(operation.id)
    assert finished.state is State.SUCCEEDED, finished


async def test_free_slots_of_the_pool_it_leaves_are_no_room_for_it(two: Two) -> None:
    await cordon(two.house.deps, two.second.id, WHO)
    house = two.house.with_policy(auto_order=True)
    assert not await capacity.order_missing(house.deps)
    operation = await begun(two)
    await two.until(Phase.SEATING, operation)
    for _ in range(3):
        await operation_steps.step(house.deps, operation.id)
    assert len(await capacity.order_missing(house.deps)) == 1
    assert not await capacity.order_missing(house.deps)
    await cancel(house.deps, operation.id, WHO)
    await two.house.finished(operation.id)


async def test_another_size_of_its_own_server_is_another_server(two: Two) -> None:
    for tier in ("premium", "free", "enterprise"):
        operation = await two.house.finished((await change_plan(two.house.hurried.deps, Wanted(A, tier), WHO)).id)
        assert operation.state is State.SUCCEEDED, operation
    on = (await two.house.database(A)).server_id
    assert on
    server, wanted = await two.house.server(on), PLANS[Tier.ENTERPRISE].dedicated
    assert wanted
    assert (server.plan_tier, server.memory_limit, server.cpu_limit) == (
        Tier.ENTERPRISE, wanted.memory_bytes, wanted.cpu,
    )  # fmt: skip
    assert await two.rows() == ROWS


# -- whoever moves fails ----------------------------------------------------------------------------------------------


async def test_a_machine_with_a_full_disk_locks_nobody_out(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    operation = await begun(two)
    await two.until(Phase.VERIFYING, operation)
    monkeypatch.setattr(type(two.house.deps.transfers), "compare", full)
    finished = await two.house.finished(operation.id)
    assert finished.state is State.FAILED
    assert "No space left on device" in (finished.last_error or "")
    assert await two.is_on(two.first)
    assert await two.rows() == ROWS


@pytest.mark.parametrize(
    ("phase", "effect"), [(Phase.FENCING, "fence"), (Phase.COPYING, "copy"), (Phase.VERIFYING, "compare")]
)
async def test_what_kills_every_worker_is_given_up(
    two: Two, monkeypatch: pytest.MonkeyPatch, phase: Phase, effect: str
) -> None:
    class Deadly(BaseException):
        pass

    async def kill(*_: object) -> None:
        raise Deadly

    operation = await begun(two)
    await two.until(phase, operation)
    monkeypatch.setattr(type(two.house.deps.transfers), effect, kill)
    for _ in range(two.house.deps.policy.move_attempts):
        with pytest.raises(Deadly):
            await operation_steps.step(two.house.deps, operation.id)
        two.house.clock.forward(two.house.deps.policy.lease + timedelta(seconds=1))
    finished = await two.house.finished(operation.id)
    assert finished.last_error == f"a: it was cut off 3 times while {phase}"
    assert await two.rows() == ROWS
    await two.sound()


async def test_attempts_on_a_server_that_was_away_for_long_are_dropped_when_it_is_back(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfers, tenants = type(two.house.deps.transfers), type(two.house.deps.tenants)
    real, begun_copies = transfers.copy, []

    async def cut_off_then_away(self: object, *args: object) -> None:
        begun_copies.append(args)
        if len(begun_copies) == 1:
            await real(self, *args)  # type: ignore[arg-type]
            raise RuntimeError("the worker dies here")
        raise TenantServerUnavailable("the target's node is down")

    async def away(*_: object) -> None:
        raise TenantServerUnavailable("the target's node is down")

    operation = await begun(two)
    await two.until(Phase.COPYING, operation)
    monkeypatch.setattr(transfers, "copy", cut_off_then_away)
    monkeypatch.setattr(transfers, "discard", away)
    monkeypatch.setattr(transfers, "dismiss", away)
    monkeypatch.setattr(tenants, "drop", away)
    with pytest.raises(RuntimeError):
        await operation_steps.step(two.house.deps, operation.id)
    two.house.clock.forward(two.house.deps.policy.lease + timedelta(seconds=1))
    await two.house.finished(operation.id)
    assert await two.rows() == ROWS
    monkeypatch.undo()
    await two.house.later(timedelta(hours=1))
    assert (
        await two.house.value("SELECT count(*) FROM databases WHERE twin_of IS NOT NULL AND server_id IS NOT NULL") == 0
    )


async def test_dumps_of_who_was_killed_go_when_their_operation_is_over(two: Two) -> None:
    folder = two.house.deps.move_dir / f"{uuid4()}-1-1"
    folder.mkdir(parents=True)
    await done(two)
    assert not folder.exists()


# -- verbs ------------------------------------------------------------------------------------------------------------


async def test_one_key_at_the_same_moment_is_one_move(two: Two) -> None:
    asked = await asyncio.gather(*(begun(two, request_key="k") for _ in range(4)))
    assert len({operation.id for operation in asked}) == 1
    await two.house.finished(asked[0].id)


async def test_a_dry_run_is_refused_what_the_move_would_be(two: Two) -> None:
    with pytest.raises(SameServer):
        await of_move(two.house.deps, A, two.first.id)
    with pytest.raises(ServerNotFound):
        await of_move(two.house.deps, A, ServerId(uuid4()))
    await cordon(two.house.deps, two.second.id, WHO)
    with pytest.raises(NoRoom):
        await of_move(two.house.deps, A, two.second.id)


async def test_a_plan_is_not_changed_while_another_one_is_on_its_way(two: Two) -> None:
    await two.house.finished((await change_plan(two.house.hurried.deps, Wanted(A, "premium"), WHO)).id)
    for pool in (two.first, two.second):
        await cordon(two.house.deps, pool.id, WHO)
    away = await change_plan(two.house.deps, Wanted(A, "starter"), WHO)
    with pytest.raises(DatabaseBusy, match=str(away.id)):
        await change_plan(two.house.deps, Wanted(A, "enterprise"), WHO)
    for pool in (two.first, two.second):
        await uncordon(two.house.deps, pool.id, WHO)
    await two.house.finished(away.id)
    assert (await two.house.database(A)).plan_tier is Tier.STARTER


# -- back -------------------------------------------------------------------------------------------------------------


async def test_it_can_go_back_after_a_rotation(two: Two) -> None:
    operation = await done(two)
    await rotate(two.house.deps, A, WHO)
    back = await two.house.finished((await roll_back(two.house.deps, operation.id, WHO)).id)
    assert back.state is State.SUCCEEDED, back
    assert await two.rows() == ROWS


async def test_it_goes_back_with_the_plan_that_it_has_by_now(two: Two) -> None:
    operation = await done(two)
    await two.house.finished((await change_plan(two.house.deps, Wanted(A, "standard"), WHO)).id)
    back = await two.house.finished((await roll_back(two.house.deps, operation.id, WHO)).id)
    assert back.state is State.SUCCEEDED, back
    assert (await two.house.database(A)).plan_tier is Tier.STANDARD


async def test_a_way_back_that_was_cancelled_can_be_asked_for_again(two: Two) -> None:
    operation = await done(two)
    first = await roll_back(two.house.deps, operation.id, WHO)
    assert (await roll_back(two.house.deps, operation.id, WHO)).id == first.id
    await cancel(two.house.deps, first.id, WHO)
    await two.house.finished(first.id)
    second = await two.house.finished((await roll_back(two.house.deps, operation.id, WHO)).id)
    assert (second.id != first.id, second.state) == (True, State.SUCCEEDED)
    assert (await roll_back(two.house.deps, operation.id, WHO)).id == second.id


async def test_what_is_kept_stays_kept_where_a_move_there_was_cancelled_before_it_began(two: Two) -> None:
    operation = await done(two)
    kept_until = await two.house.value("SELECT purge_after FROM databases WHERE twin_of IS NOT NULL")
    again = await move(two.house.deps, A, two.first.id, WHO)
    await two.until(Phase.FENCING, again)
    await cancel(two.house.deps, again.id, WHO)
    await two.house.finished(again.id)
    assert (
        await two.house.value("SELECT purge_after FROM databases WHERE twin_of IS NOT NULL AND status = 'released'")
        == kept_until
    )
    back = await two.house.finished((await roll_back(two.house.deps, operation.id, WHO)).id)
    assert back.state is State.SUCCEEDED, back
    await two.sound()
