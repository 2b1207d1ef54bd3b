"""What a consumer may rely on when its plan changes and when its database moves: of the API, and of the stand-in."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from database_service_client import AsyncOperation, errors
from sdk.stage import Stage

ASK = ("i-1", "c-1", "starter")


@pytest.fixture
async def moving(stage: Stage) -> AsyncIterator[Stage]:
    """With a database, and room for it on two servers."""
    await stage.make_room()
    await stage.client.allocate(*ASK)
    await stage.make_other_room()
    yield stage
    await stage.clear("i-1")


async def done(stage: Stage, op: AsyncOperation) -> AsyncOperation:
    ended, _ = await asyncio.gather(op.wait(60), stage.work(op.id))
    return ended


async def test_another_plan_of_the_same_kind_holds_at_once(moving: Stage) -> None:
    before = await moving.client.credentials("i-1")
    op = await moving.client.change_plan("i-1", "standard")
    assert (op.kind, op.state, op.over) == ("change_plan", "succeeded", True)
    assert (await moving.client.status("i-1")).limits.connections == 20
    assert (await moving.client.credentials("i-1")).dsn() == before.dsn()


async def test_who_asks_again_asks_for_what_it_has_now(moving: Stage) -> None:
    await moving.client.change_plan("i-1", "standard")
    assert (await moving.client.allocate("i-1", "c-1", "standard")).plan_tier == "standard"
    with pytest.raises(errors.AllocationDiffers):
        await moving.client.allocate(*ASK)


async def test_the_same_plan_and_one_that_is_not_there_are_refused(moving: Stage) -> None:
    with pytest.raises(errors.SamePlan):
        await moving.client.change_plan("i-1", "starter")
    with pytest.raises(errors.PlanHasNoDedicated):
        await moving.client.change_plan("i-1", "free", require_dedicated=True)
    with pytest.raises(errors.DatabaseNotFound):
        await moving.client.change_plan("nobody", "free")


async def test_a_preview_says_whether_it_moves_and_changes_nothing(moving: Stage) -> None:
    stays, moves = [await moving.client.preview_change_plan("i-1", tier) for tier in ("standard", "premium")]
    assert (stays.moves, stays.server_type, stays.plan_tier) == (False, "shared", "standard")
    assert (moves.moves, moves.server_type, moves.to_server, moves.blockers) == (True, "dedicated", None, ())
    goes = await moving.client.admin.preview_move("i-1")
    assert goes.from_server != goes.to_server
    assert (await moving.client.operations.page()).operations == ()


async def test_a_moved_database_has_its_name_its_user_and_its_password_at_another_address(moving: Stage) -> None:
    before = await moving.client.credentials("i-1")
    op = await done(moving, await moving.client.admin.move("i-1"))
    after = await moving.client.credentials("i-1")
    assert after.address != before.address
    assert (after.db_name, after.db_user, after.db_password) == (before.db_name, before.db_user, before.db_password)
    [step] = op.steps
    assert (step.name, step.state) == ("i-1", "succeeded")
    assert step.progress is not None
    assert step.progress.phase in ("tidying", "done")
    assert (step.progress.switched_at, step.progress.downtime_s) != (None, None)
    assert [each.id async for each in moving.client.operations.each(state="succeeded")] == [op.id]


async def test_a_listener_is_told_of_a_move_with_the_credentials_there(moving: Stage) -> None:
    before = await moving.client.credentials("i-1")
    heard = asyncio.get_running_loop().create_future()
    async with moving.client.watch("i-1", lambda *moved: heard.set_result(moved), since=before):
        await done(moving, await moving.client.admin.move("i-1"))
        old, new = await heard
    assert (old, new.dsn()) == (before.address, (await moving.client.credentials("i-1")).dsn())


async def test_one_change_at_a_time(moving: Stage) -> None:
    begun = await moving.client.admin.move("i-1")
    with pytest.raises((errors.DatabaseBusy, errors.DatabaseMoving)):
        await moving.client.change_plan("i-1", "free")
    await done(moving, begun)


async def test_a_cancelled_move_leaves_it_where_it_was(moving: Stage) -> None:
    before = await moving.client.credentials("i-1")
    begun = await moving.client.admin.move("i-1")
    cancelled = await begun.cancel()
    assert "cancel" in (cancelled.wish or cancelled.state)
    with pytest.raises(errors.OperationCancelled):
        await done(moving, begun)
    await moving.settle()
    assert (await moving.client.credentials("i-1")).dsn() == before.dsn()


async def test_what_was_cancelled_is_tried_again_once(moving: Stage) -> None:
    begun = await moving.client.admin.move("i-1")
    with pytest.raises(errors.NothingToRetry):
        await begun.retry()
    await begun.cancel()
    with pytest.raises(errors.OperationCancelled):
        await done(moving, begun)
    again, same = [await begun.retry() for _ in range(2)]
    assert (again.kind, again.id) == ("move", same.id)
    assert (await done(moving, again)).state == "succeeded"
    with pytest.raises(errors.NothingToRetry):
        await moving.client.operations.retry(again.id)


async def test_a_move_is_taken_back_once_however_often_it_is_asked_for(moving: Stage) -> None:
    before = await moving.client.credentials("i-1")
    moved = await done(moving, await moving.client.admin.move("i-1"))
    back, again = [await moved.rollback() for _ in range(2)]
    assert (back.kind, back.id) == ("rollback", again.id)
    assert (await done(moving, back)).state == "succeeded"
    assert (await moving.client.credentials("i-1")).dsn() == before.dsn()


async def test_what_was_written_since_is_not_lost_by_taking_a_move_back(moving: Stage) -> None:
    moved = await done(moving, await moving.client.admin.move("i-1"))
    there = await moving.client.credentials("i-1")
    await moving.write("i-1")
    with pytest.raises(errors.OperationFailed):
        await done(moving, await moved.rollback())
    await moving.settle()
    assert (await moving.client.credentials("i-1")).dsn() == there.dsn()


async def test_what_moved_nothing_is_not_taken_back(moving: Stage) -> None:
    op = await moving.client.change_plan("i-1", "standard")
    with pytest.raises(errors.MoveNotReversible):
        await op.rollback()
