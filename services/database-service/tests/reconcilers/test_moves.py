"""A database goes to another server with everything in it, or stays where it is with everything in it."""

import asyncio
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from database_service.actions.allocate import allocate
from database_service.actions.change_plan import Wanted, change_plan
from database_service.actions.credentials import credentials
from database_service.actions.move_databases import drain, move, rebalance, roll_back
from database_service.actions.release import release, undelete
from database_service.actions.retire_server import retire
from database_service.actions.rotate import rotate
from database_service.actions.steer_operation import cancel
from database_service.actions.survey_move import of_move, of_plan
from database_service.domain.databases import Status
from database_service.domain.errors import (
    DatabaseBusy,
    DatabaseHasOwnServer,
    DatabaseMoving,
    MoveNotReversible,
    NoRoom,
    SamePlan,
    SameServer,
    TransferFailed,
)
from database_service.domain.moves import Phase
from database_service.domain.operations import Operation, State
from database_service.domain.plans import Tier
from database_service.reconcilers import operations as operation_steps
from support.house import WHO, ask, login
from support.invariants import World, look_at
from support.two_pools import ROWS, A, Two


async def begun(two: Two, **more: object) -> Operation:
    return await move(two.house.deps, A, None, WHO, **more)  # type: ignore[arg-type]


async def done(two: Two) -> Operation:
    """Moved to the other pool."""
    operation = await two.house.finished((await begun(two)).id)
    assert operation.state is State.SUCCEEDED, operation
    return operation


# -- there ------------------------------------------------------------------------------------------------------------


async def test_a_moved_database_has_its_rows_its_name_its_users_and_their_passwords_on_another_server(two: Two) -> None:
    before = await credentials(two.house.deps, A, WHO)
    operation = await done(two)
    after = await credentials(two.house.deps, A, WHO)
    assert await two.is_on(two.second)
    assert (after.login.role, after.password, after.database.name) == (
        before.login.role, before.password, before.database.name,
    )  # fmt: skip
    assert after.address != before.address
    assert await two.rows() == ROWS
    moved = await two.moved(operation)
    assert moved.phase is Phase.DONE
    assert moved.downtime
    assert moved.size_bytes
    await two.sound()


async def test_nobody_gets_into_what_it_left_behind_and_it_is_deleted_after_the_plans_days(two: Two) -> None:
    before = await credentials(two.house.deps, A, WHO)
    await done(two)
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await login(before)
    await two.house.later(timedelta(days=6))
    assert before.database.name in (await look_at(two.house.tenant)).databases
    await two.house.later(timedelta(days=2))
    assert before.database.name not in (await look_at(two.house.tenant)).databases
    assert await two.rows() == ROWS
    await two.sound()


async def test_a_session_that_is_open_ends_and_what_it_had_committed_is_there(two: Two) -> None:
    session = await login(await credentials(two.house.deps, A, WHO))
    await session.execute("INSERT INTO orders VALUES (0, 'the last')")
    await done(two)
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError)):
        await session.execute("INSERT INTO orders VALUES (-1, 'lost')")
    assert await two.rows() == ROWS + 1


async def test_asked_again_with_the_same_key_it_is_one_move_and_without_it_the_second_is_refused(two: Two) -> None:
    operation = await begun(two, request_key="k")
    assert (await begun(two, request_key="k")).id == operation.id
    with pytest.raises(DatabaseBusy, match=str(operation.id)):
        await begun(two)
    await two.house.finished(operation.id)
    assert (await begun(two, request_key="k")).id == operation.id


async def test_where_it_is_asked_to_go_must_be_another_pool_with_room(two: Two) -> None:
    with pytest.raises(SameServer, match=two.first.name):
        await move(two.house.deps, A, two.first.id, WHO)
    async with two.house.deps.db.connection() as conn:
        await conn.execute("DELETE FROM slots WHERE server_id = $1", two.second.id)
    with pytest.raises(NoRoom, match=two.second.name):
        await move(two.house.deps, A, two.second.id, WHO)


async def test_a_dry_run_tells_where_to_how_large_and_for_how_long_and_changes_nothing(two: Two) -> None:
    before = await two.house.database(A)
    report = await of_move(two.house.deps, A, None)
    assert (report.moves, report.target, report.source) == (
        True,
        await two.house.server(two.second.id),
        await two.house.server(two.first.id),
    )
    assert report.survey
    assert report.survey.tables == 1
    assert report.survey.size_bytes > 1_000_000
    assert timedelta(seconds=1) < report.downtime < timedelta(minutes=1)
    assert await two.house.database(A) == before
    assert await two.house.value("SELECT count(*) FROM operations") == 0


# -- or not -----------------------------------------------------------------------------------------------------------


async def test_a_copy_that_fails_leaves_the_tenant_working_where_it_was(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise TransferFailed("pg_dump: No space left on device")

    monkeypatch.setattr(type(two.house.deps.transfers), "copy", full)
    operation = await two.house.finished((await begun(two)).id)
    assert (operation.state, operation.last_error) == (State.FAILED, "a: pg_dump: No space left on device")
    assert await two.is_on(two.first)
    assert await two.rows() == ROWS
    await two.sound()


async def test_a_copy_that_is_not_the_same_is_never_switched_to(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    real = type(two.house.deps.transfers).copy

    async def with_a_row_less(self: object, passage: object, folder: Path, told: object) -> None:
        await real(self, passage, folder, told)  # type: ignore[arg-type]
        target = passage.target  # type: ignore[attr-defined]
        conn = await asyncpg.connect(
            host=target.host, port=target.port, user=target.user, password=target.password.reveal(),
            database=passage.staging,  # type: ignore[attr-defined]
        )  # fmt: skip
        await conn.execute("DELETE FROM orders WHERE id = 7")
        await conn.close()

    monkeypatch.setattr(type(two.house.deps.transfers), "copy", with_a_row_less)
    operation = await two.house.finished((await begun(two)).id)
    assert operation.state is State.FAILED
    assert "the copy is not the same" in (operation.last_error or "")
    assert "orders" in (operation.last_error or "")
    assert await two.is_on(two.first)
    assert await two.rows() == ROWS
    await two.sound()


@pytest.mark.parametrize("phase", [Phase.FENCING, Phase.COPYING, Phase.VERIFYING])
async def test_cancelled_before_the_switch_it_is_where_it_was_at_once(two: Two, phase: Phase) -> None:
    operation = await begun(two)
    await two.until(phase, operation)
    await cancel(two.house.deps, operation.id, WHO)
    assert (await two.house.finished(operation.id)).state is State.CANCELLED
    assert await two.is_on(two.first)
    assert await two.rows() == ROWS
    await two.sound()


async def test_cancelled_after_the_switch_it_is_done(two: Two) -> None:
    operation = await begun(two)
    await two.until(Phase.OPENING, operation)
    await cancel(two.house.deps, operation.id, WHO)
    await two.house.finished(operation.id)
    assert await two.is_on(two.second)
    await two.sound()


async def test_a_long_copy_keeps_its_lease_and_ends_soon_when_it_is_cancelled(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    copying, ended = asyncio.Event(), asyncio.Event()

    async def endless(*_: object) -> None:
        copying.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(type(two.house.deps.transfers), "copy", endless)
    operation = await begun(two)
    await two.until(Phase.COPYING, operation)
    at_it = asyncio.create_task(operation_steps.step(two.house.deps, operation.id))
    await copying.wait()
    two.house.clock.forward(timedelta(seconds=60))
    async with asyncio.timeout(10):
        renewed = two.house.clock() + timedelta(seconds=89)
        while await two.house.value("SELECT lease_until < $1 FROM operations", renewed):  # noqa: ASYNC110  by the clock
            await asyncio.sleep(0.1)
    assert await operation_steps.step(two.house.deps, operation.id) is None, "somebody else could take it"
    await cancel(two.house.deps, operation.id, WHO)
    await asyncio.wait_for(at_it, 10)
    assert ended.is_set()
    assert (await two.house.finished(operation.id)).state is State.CANCELLED
    assert await two.rows() == ROWS


async def test_a_database_that_is_released_on_the_way_is_released(two: Two) -> None:
    operation = await begun(two)
    await two.until(Phase.VERIFYING, operation)
    await release(two.house.deps, A, WHO)
    finished = await two.house.finished(operation.id)
    assert (finished.state, (await two.house.database(A)).status) == (State.FAILED, Status.RELEASED)
    await two.sound()
    await undelete(two.house.deps, A, WHO)
    assert await two.rows() == ROWS
    assert await two.is_on(two.first)


async def test_while_it_moves_nobody_is_told_credentials_that_do_not_work(two: Two) -> None:
    operation = await begun(two)
    await two.until(Phase.COPYING, operation)
    with pytest.raises(DatabaseMoving):
        await credentials(two.house.deps, A, WHO)
    with pytest.raises(DatabaseMoving):
        await rotate(two.house.deps, A, WHO)
    with pytest.raises(DatabaseMoving):
        await move(two.house.deps, A, None, WHO)
    pending = await allocate(two.house.deps, ask(A, Tier.STARTER), WHO)
    assert getattr(pending, "message", "") == "The database is being moved to another server."
    await two.house.finished(operation.id)


# -- back -------------------------------------------------------------------------------------------------------------


async def test_a_move_can_be_taken_back_while_nothing_was_written(two: Two) -> None:
    operation = await done(two)
    back = await two.house.finished((await roll_back(two.house.deps, operation.id, WHO)).id)
    assert back.state is State.SUCCEEDED, back
    assert await two.is_on(two.first)
    assert await two.rows() == ROWS
    await two.house.later(timedelta(seconds=1))
    assert (await look_at(two.other)).without(two.worlds[1]) == World(frozenset(), frozenset())
    await two.sound()


async def test_once_something_was_written_there_is_no_way_back_and_it_says_so(two: Two) -> None:
    operation = await done(two)
    conn = await login(await credentials(two.house.deps, A, WHO))
    await conn.execute("INSERT INTO orders VALUES (0, 'new')")
    await conn.close()
    back = await two.house.finished((await roll_back(two.house.deps, operation.id, WHO)).id)
    assert back.state is State.FAILED
    assert "it was written to since it moved" in (back.last_error or "")
    assert await two.is_on(two.second)
    assert await two.rows() == ROWS + 1
    await two.sound()


async def test_what_is_no_longer_kept_cannot_be_gone_back_to(two: Two) -> None:
    operation = await done(two)
    await two.house.later(timedelta(days=8))
    with pytest.raises(MoveNotReversible, match="no longer kept"):
        await roll_back(two.house.deps, operation.id, WHO)


async def test_it_goes_there_and_back_and_there_again(two: Two) -> None:
    for server in (two.second, two.first, two.second):
        operation = await two.house.finished((await move(two.house.deps, A, server.id, WHO)).id)
        assert operation.state is State.SUCCEEDED, operation
        assert await two.is_on(server)
        assert await two.rows() == ROWS
    await two.sound()


async def test_without_a_wish_it_goes_back_to_the_place_it_left_where_there_is_no_other(two: Two) -> None:
    await done(two)
    await done(two)
    assert await two.is_on(two.first)
    assert await two.rows() == ROWS
    await two.sound()


# -- plans ------------------------------------------------------------------------------------------------------------


async def test_another_plan_of_the_same_kind_holds_at_once(two: Two) -> None:
    operation = await change_plan(two.house.deps, Wanted(A, "standard"), WHO)
    found = await two.house.finished(operation.id)
    database = await two.house.database(A)
    assert (found.state, database.limits_tier, database.server_id) == (State.SUCCEEDED, Tier.STANDARD, two.first.id)
    assert isinstance((await allocate(two.house.deps, ask(A, Tier.STANDARD), WHO)).database.limits_tier, Tier)  # type: ignore[union-attr]
    with pytest.raises(SamePlan):
        await change_plan(two.house.deps, Wanted(A, "standard"), WHO)
    await two.sound()


async def test_a_plan_with_a_server_of_its_own_brings_the_database_there_and_another_one_back(two: Two) -> None:
    report = await of_plan(two.house.deps, Wanted(A, "premium"))
    assert (report.moves, report.target) == (True, None)
    up = await two.house.finished((await change_plan(two.house.hurried.deps, Wanted(A, "premium"), WHO)).id)
    assert up.state is State.SUCCEEDED, up
    database = await two.house.database(A)
    assert database.server_id
    own = await two.house.server(database.server_id)
    assert (own.instance_id, database.plan_tier, database.limits_tier) == (A, Tier.PREMIUM, Tier.PREMIUM)
    assert await two.rows() == ROWS
    with pytest.raises(DatabaseHasOwnServer):
        await move(two.house.deps, A, None, WHO)
    down = await two.house.finished((await change_plan(two.house.hurried.deps, Wanted(A, "free"), WHO)).id)
    assert down.state is State.SUCCEEDED, down
    assert await two.rows() == ROWS
    await two.house.later(timedelta(days=4))
    assert (await two.house.server(own.id)).status in ("deprovisioning", "gone")
    await two.sound()


async def test_back_on_the_server_of_its_own_that_is_still_kept(two: Two) -> None:
    for tier in ("premium", "free", "premium"):
        operation = await two.house.finished((await change_plan(two.house.hurried.deps, Wanted(A, tier), WHO)).id)
        assert operation.state is State.SUCCEEDED, operation
        assert await two.rows() == ROWS
    assert await two.house.value("SELECT count(*) FROM servers WHERE server_type = 'dedicated'") == 1
    await two.sound()


# -- pools ------------------------------------------------------------------------------------------------------------


async def test_a_drained_pool_is_empty_and_can_be_retired(two: Two) -> None:
    for name in ("b", "c"):
        await allocate(two.house.deps, ask(name), WHO)
    on_first = await two.house.value("SELECT count(*) FROM databases WHERE server_id = $1", two.first.id)
    operation = await two.house.finished((await drain(two.house.deps, two.first.id, WHO)).id)
    assert operation.state is State.SUCCEEDED, operation
    assert await two.house.value("SELECT count(*) FROM operation_steps WHERE state = 'succeeded'") == on_first
    assert (await two.house.server(two.first.id)).cordoned
    assert (
        await two.house.value(
            "SELECT count(*) FROM databases WHERE server_id = $1 AND instance_id IS NOT NULL", two.first.id
        )
        == 0
    )
    assert await two.rows() == ROWS
    await retire(two.house.deps, two.first.id, WHO)
    await two.house.until_quiet()
    await two.sound()


async def test_one_that_cannot_be_moved_keeps_no_other_from_it(two: Two) -> None:
    await allocate(two.house.deps, ask("b"), WHO)
    async with two.house.deps.db.connection() as conn:
        await conn.execute("UPDATE databases SET server_id = server_id WHERE instance_id = 'b'")
    session = await login(await credentials(two.house.deps, A, WHO))
    await session.execute("CREATE TABLE stray (x int)")
    await session.close()
    admin = await asyncpg.connect(two.house.tenant.dsn((await two.house.database(A)).name))
    await admin.execute("ALTER TABLE stray OWNER TO CURRENT_USER")
    await admin.close()
    operation = await two.house.finished((await drain(two.house.deps, two.first.id, WHO)).id)
    assert operation.state is State.FAILED
    assert "stray" in (operation.last_error or "")
    assert await two.is_on(two.first)
    assert (await two.house.database("b")).server_id == two.second.id
    admin = await asyncpg.connect(two.house.tenant.dsn((await two.house.database(A)).name))
    await admin.execute("DROP TABLE stray")
    await admin.close()


async def test_pools_are_evened_out(two: Two) -> None:
    async with two.house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET cordoned = true WHERE id = $1", two.second.id)
    for name in ("b", "c"):
        await allocate(two.house.deps, ask(name), WHO)
    async with two.house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET cordoned = false WHERE id = $1", two.second.id)
    operation = await two.house.finished((await rebalance(two.house.deps, 10, WHO)).id)
    assert operation.state is State.SUCCEEDED, operation
    spread = [
        await two.house.value("SELECT count(*) FROM databases WHERE server_id = $1 AND status = 'ready'", server.id)
        for server in (two.first, two.second)
    ]
    assert sorted(spread) == [1, 2]
    assert (await rebalance(two.house.deps, 10, WHO)).id != operation.id
    await two.sound()
