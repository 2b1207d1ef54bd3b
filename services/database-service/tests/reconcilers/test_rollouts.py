"""A rollout goes from one real server to the next, waits until each is really well, and stops where one is not."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from database_service.actions.allocate import allocate
from database_service.actions.change_servers import Every
from database_service.actions.retire_server import retire
from database_service.actions.steer_operation import cancel, pause, resume
from database_service.domain.answers import Allocation, Pending
from database_service.domain.errors import InvalidField, OperationOver, ServerBusy, ServerNotActive, SlotsInUse
from database_service.domain.operations import State
from database_service.domain.servers import Health, Server, Status
from database_service.provisioners.runtime import PostgresRuntime
from database_service.reconcilers import operations as operation_steps
from database_service.reconcilers import servers as server_steps
from database_service.reconcilers.addressing import admin_of
from database_service.store import leases, servers
from support.cluster import Cluster
from support.fleet import BIG, NEW, SMALL, Fleet, open_fleet
from support.house import WHO, ask

SLOTS = "SELECT count(*) FROM slots WHERE server_id = $1"


@pytest.fixture
async def fleet(
    control_dsn: str, tenant_cluster: Cluster, runtime: PostgresRuntime, folder: Path
) -> AsyncIterator[Fleet]:
    async with open_fleet(control_dsn, tenant_cluster, runtime, folder) as fleet:
        yield fleet


async def setting(fleet: Fleet, server: Server, name: str) -> object:
    admin = admin_of(fleet.house.deps, server)
    conn = await asyncpg.connect(
        host=admin.host, port=admin.port, user=admin.user, password=admin.password.reveal(), database="postgres"
    )
    try:
        return await conn.fetchval("SELECT current_setting($1)", name)
    finally:
        await conn.close()


async def server(fleet: Fleet, ordinal: int = 0) -> Server:
    return await fleet.house.server(fleet.pools[ordinal].id)


async def test_memory_and_slots_of_three_servers_change_and_never_two_are_down_at_once(fleet: Fleet) -> None:
    pools = await fleet.order(3)
    operation = await fleet.finished(await fleet.roll_out(memory_limit=BIG, max_instances=5))
    assert (operation.state, operation.last_error) == (State.SUCCEEDED, None)
    assert await fleet.states(operation) == ["succeeded"] * 3
    assert fleet.watched.stopped == [pool.id for pool in pools]
    assert fleet.watched.down_together == [{pool.id} for pool in pools]
    for ordinal, pool in enumerate(pools):
        changed = await server(fleet, ordinal)
        assert (changed.memory_limit, changed.max_instances, changed.health) == (BIG, 5, Health.HEALTHY)
        assert await setting(fleet, changed, "shared_buffers") == "64MB"
        assert await fleet.house.value(SLOTS, pool.id) == 5


async def test_the_next_server_is_not_touched_before_the_one_before_was_seen_well(fleet: Fleet) -> None:
    first, second = await fleet.order(2)
    operation = await fleet.roll_out(memory_limit=BIG)

    async def stopped() -> bool:
        return bool(fleet.watched.stopped)

    await fleet.until(stopped, operation)
    assert (await server(fleet)).health is Health.UNHEALTHY
    assert await fleet.states(operation) == ["running", "pending"]
    assert (await server(fleet, 1)).memory_limit == SMALL
    await fleet.finished(operation)
    assert fleet.watched.stopped == [first.id, second.id]


async def test_a_server_that_is_being_changed_takes_no_databases_until_it_is_well(fleet: Fleet) -> None:
    await fleet.order(1)
    await fleet.house.spares(1)
    operation = await fleet.roll_out(memory_limit=BIG)

    async def stopped() -> bool:
        return bool(fleet.watched.stopped)

    await fleet.until(stopped, operation)
    assert isinstance(await allocate(fleet.house.deps, ask("a"), WHO), Pending)
    await fleet.finished(operation)
    await fleet.house.until_quiet()
    assert isinstance(await allocate(fleet.house.deps, ask("a"), WHO), Allocation)


async def test_servers_that_are_as_wanted_are_skipped_without_a_restart(fleet: Fleet) -> None:
    await fleet.order(2)
    await fleet.finished(await fleet.roll_out([fleet.pools[0].id], memory_limit=BIG))
    fleet.watched.stopped.clear()
    operation = await fleet.finished(await fleet.roll_out(memory_limit=BIG))
    assert await fleet.states(operation) == ["skipped", "succeeded"]
    assert fleet.watched.stopped == [fleet.pools[1].id]


async def test_room_that_needs_no_other_settings_comes_without_a_restart(fleet: Fleet) -> None:
    await fleet.order(1)
    operation = await fleet.finished(await fleet.roll_out(max_instances=4))
    assert operation.state is State.SUCCEEDED
    assert fleet.watched.stopped == []
    assert await fleet.house.value(SLOTS, fleet.pools[0].id) == 4


async def test_a_server_that_is_as_wanted_and_ill_is_waited_for_and_not_passed_by(fleet: Fleet) -> None:
    first, second = await fleet.order(2)
    await fleet.finished(await fleet.roll_out([first.id], memory_limit=BIG))
    fleet.watched.stopped.clear()
    await fleet.provisioner.remove(first.id, keep_data=True)
    async with fleet.house.deps.db.connection() as conn:
        await servers.make_due(conn, first.id, fleet.house.clock())
    await server_steps.step(fleet.house.deps, first.id, only_look=True)
    assert (await server(fleet)).health is Health.UNHEALTHY
    operation = await fleet.finished(await fleet.roll_out(memory_limit=BIG))
    assert await fleet.states(operation) == ["succeeded", "succeeded"]
    assert {second.id} in fleet.watched.down_together


async def test_a_server_that_is_retired_meanwhile_is_let_go(fleet: Fleet) -> None:
    await fleet.order(2)
    operation = await fleet.roll_out(memory_limit=BIG)

    async def begun() -> bool:
        return await fleet.states(operation) == ["running", "pending"]

    await fleet.until(begun, operation)
    for pool in fleet.pools:
        await retire(fleet.house.deps, pool.id, WHO)
    assert (await fleet.finished(operation)).state is State.SUCCEEDED
    assert await fleet.states(operation) == ["skipped", "skipped"]


# -- it fails ---------------------------------------------------------------------------------------------------------


async def test_the_first_failure_stops_it_puts_that_server_back_and_leaves_the_rest_untouched(fleet: Fleet) -> None:
    pools = await fleet.order(3)
    await allocate(fleet.house.deps, ask("a"), WHO)
    fleet.provisioner.refused.add(NEW.reference)
    operation = await fleet.finished(await fleet.roll_out(image="postgres:new", memory_limit=BIG, max_instances=1))
    why = f"The image {NEW.reference} cannot be started"
    assert (operation.state, operation.last_error) == (State.FAILED, f"{pools[0].name}: {why}")
    assert await fleet.states(operation) == ["failed", "cancelled", "cancelled"]
    assert fleet.watched.stopped == []
    for ordinal, pool in enumerate(pools):
        now = await server(fleet, ordinal)
        assert (now.image, now.memory_limit, now.max_instances) == (None, SMALL, 2)
        assert await fleet.house.value(SLOTS, pool.id) == 2
        assert now.health is Health.HEALTHY


async def test_a_server_that_does_not_come_up_in_time_runs_again_as_it_was(fleet: Fleet) -> None:
    await fleet.order(2)
    fleet.provisioner.broken.add(NEW.reference)
    operation = await fleet.roll_out(image="postgres:new")

    async def stopped() -> bool:
        return bool(fleet.watched.stopped)

    await fleet.until(stopped, operation)
    for _ in range(5):
        await operation_steps.step(fleet.house.deps, operation.id)
        fleet.house.clock.forward(timedelta(seconds=45))
    failed = await fleet.finished(operation)
    assert failed.state is State.FAILED
    assert "its process is gone" in str(failed.last_error)
    back = await server(fleet)
    assert (back.image, back.status, back.health) == (None, Status.ACTIVE, Health.HEALTHY)
    assert fleet.watched.stopped[1:] in ([], [back.id])


async def test_time_in_which_nobody_watched_does_not_count_against_a_server(fleet: Fleet) -> None:
    await fleet.order(1)
    operation = await fleet.roll_out(memory_limit=BIG)

    async def begun() -> bool:
        return await fleet.states(operation) == ["running"]

    await fleet.until(begun, operation)
    fleet.house.clock.forward(timedelta(hours=1))
    assert (await fleet.finished(operation)).state is State.SUCCEEDED


async def test_the_old_server_that_still_answers_is_not_taken_for_the_changed_one(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provisioner may only have been told: what it finds is as wanted, and the old one still runs."""
    await fleet.order(1)

    async def only_told(spec: object) -> None:
        fleet.provisioner._runs[fleet.pools[0].id] = NEW.reference

    monkeypatch.setattr(fleet.provisioner, "ensure", only_told)
    operation = await fleet.roll_out(image="postgres:new")

    async def told() -> bool:
        return (await server(fleet)).health is Health.UNHEALTHY

    await fleet.until(told, operation)
    for _ in range(3):
        await operation_steps.settle(fleet.house.deps, operation.id, timedelta(seconds=1))
    assert (await server(fleet)).health is Health.HEALTHY
    assert await fleet.states(operation) == ["running"]
    monkeypatch.undo()
    await fleet.provisioner.remove(fleet.pools[0].id, keep_data=True)
    assert (await fleet.finished(operation)).state is State.SUCCEEDED


# -- images -----------------------------------------------------------------------------------------------------------


async def test_an_image_is_looked_up_once_and_pinned_for_all(fleet: Fleet) -> None:
    await fleet.order(2)
    operation = await fleet.finished(await fleet.roll_out(image="postgres:new"))
    assert operation.state is State.SUCCEEDED
    assert fleet.provisioner.looked_up == ["postgres:new"]
    assert [(await server(fleet, n)).image for n in range(2)] == [NEW.reference] * 2


@pytest.mark.parametrize(
    ("image", "why"),
    [("postgres:none", "There is no image postgres:none."), ("postgres:19", "another major version cannot read it")],
)
async def test_an_image_that_cannot_be_is_refused_before_any_server_is_touched(
    fleet: Fleet, image: str, why: str
) -> None:
    await fleet.order(2)
    before = [await server(fleet, n) for n in range(2)]
    operation = await fleet.finished(await fleet.roll_out(image=image))
    assert operation.state is State.FAILED
    assert why in str(operation.last_error)
    assert await fleet.states(operation) == ["cancelled", "cancelled"]
    assert [await server(fleet, n) for n in range(2)] == before


# -- pause, resume, cancel --------------------------------------------------------------------------------------------


async def test_a_pause_takes_effect_after_the_server_in_hand_and_is_lifted_again(fleet: Fleet) -> None:
    await fleet.order(3)
    operation = await fleet.roll_out(memory_limit=BIG)

    async def begun() -> bool:
        return (await fleet.states(operation))[0] == "running"

    await fleet.until(begun, operation)
    noted = await pause(fleet.house.deps, operation.id, WHO)
    assert (noted.state, noted.wish) == (State.RUNNING, "pause")
    assert (await fleet.finished(operation)).state is State.PAUSED
    assert await fleet.states(operation) == ["succeeded", "pending", "pending"]
    await resume(fleet.house.deps, operation.id, WHO)
    assert (await fleet.finished(operation)).state is State.SUCCEEDED


async def test_a_cancelled_rollout_finishes_the_server_in_hand_and_begins_no_other(fleet: Fleet) -> None:
    await fleet.order(2)
    operation = await fleet.roll_out(memory_limit=BIG)

    async def stopped() -> bool:
        return bool(fleet.watched.stopped)

    await fleet.until(stopped, operation)
    await cancel(fleet.house.deps, operation.id, WHO)
    assert (await fleet.finished(operation)).state is State.CANCELLED
    assert await fleet.states(operation) == ["succeeded", "cancelled"]
    assert [(await server(fleet, n)).memory_limit for n in range(2)] == [BIG, SMALL]
    with pytest.raises(OperationOver):
        await resume(fleet.house.deps, operation.id, WHO)


# -- who may begin ----------------------------------------------------------------------------------------------------


async def test_a_server_is_part_of_one_live_operation(fleet: Fleet) -> None:
    await fleet.order(2)
    operation = await fleet.roll_out([fleet.pools[1].id], memory_limit=BIG)
    with pytest.raises(ServerBusy, match=str(operation.id)):
        await fleet.roll_out(memory_limit=BIG)
    await fleet.finished(operation)
    assert (await fleet.finished(await fleet.roll_out(memory_limit=SMALL))).state is State.SUCCEEDED


async def test_two_rollouts_at_once_over_the_same_servers_are_one(fleet: Fleet) -> None:
    ids = [pool.id for pool in await fleet.order(2)]
    begun = await asyncio.gather(
        *(fleet.roll_out(chosen, max_instances=3) for chosen in (ids, ids[::-1]) for _ in range(3)),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in begun) == ["Operation"] + ["ServerBusy"] * 5


async def test_what_nobody_can_change_is_refused_at_once(fleet: Fleet) -> None:
    adopted = await fleet.house.pool()
    with pytest.raises(InvalidField, match="run by somebody else"):
        await fleet.roll_out([adopted.id], memory_limit=BIG)
    with pytest.raises(InvalidField, match="has to be given"):
        await fleet.roll_out()
    await fleet.order(1)
    operation = await fleet.finished(await fleet.roll_out(Every.ALL, memory_limit=BIG))
    assert [step.subject_id for step in await fleet.steps(operation)] == [fleet.pools[0].id]
    grown = await fleet.finished(await fleet.roll_out([adopted.id], max_instances=12))
    assert (grown.state, await fleet.house.value(SLOTS, adopted.id)) == (State.SUCCEEDED, 12)


async def test_a_server_that_does_not_run_is_refused(fleet: Fleet) -> None:
    await fleet.order(1)
    async with fleet.house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET status = 'error'")
    with pytest.raises(ServerNotActive):
        await fleet.roll_out([fleet.pools[0].id], memory_limit=BIG)


async def test_fewer_slots_than_are_in_use_are_refused_for_that_server(fleet: Fleet) -> None:
    await fleet.order(1)
    for instance in "ab":
        await allocate(fleet.house.deps, ask(instance), WHO)
    operation = await fleet.finished(await fleet.roll_out(max_instances=1))
    assert operation.state is State.FAILED
    assert str(SlotsInUse(fleet.pools[0].name, 2, 1)) in str(operation.last_error)
    assert ((await server(fleet)).max_instances, fleet.watched.stopped) == (2, [])


async def test_a_step_of_the_server_itself_does_not_work_on_it_at_the_same_time(fleet: Fleet) -> None:
    """It is found out under the operation's lease, and has nothing to say until that is given back."""
    await fleet.order(1)
    operation = await fleet.roll_out(memory_limit=BIG)
    seen: list[object] = []
    real = fleet.provisioner.ensure

    async def watched(spec: object) -> None:
        seen.append(await server_steps.step(fleet.house.deps, fleet.pools[0].id))
        await real(spec)  # type: ignore[arg-type]

    fleet.provisioner.ensure = watched  # type: ignore[assignment, method-assign]
    async with fleet.house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET due_at = $1", fleet.house.clock())
    assert (await fleet.finished(operation)).state is State.SUCCEEDED
    assert seen == [None]


async def test_an_operation_does_not_work_on_a_server_while_one_of_its_own_steps_does(fleet: Fleet) -> None:
    [pool] = await fleet.order(1)
    operation = await fleet.roll_out(memory_limit=BIG)
    token = uuid4()
    async with fleet.house.deps.db.connection() as conn:
        assert await servers.take(conn, pool.id, fleet.house.clock(), timedelta(minutes=1), token)
    await operation_steps.settle(fleet.house.deps, operation.id, timedelta(seconds=1))
    assert (await fleet.operation(operation.id)).last_error == "somebody else is at work on the server"
    assert fleet.watched.stopped == []
    async with fleet.house.deps.db.connection() as conn:
        await leases.release(conn, "servers", pool.id, token)
    assert (await fleet.finished(operation)).state is State.SUCCEEDED
