"""What failed or was cancelled is tried again: what was not done, and nothing else."""

from uuid import uuid4

import asyncpg
import pytest

from database_service.actions.allocate import allocate
from database_service.actions.change_plan import Wanted, change_plan
from database_service.actions.credentials import credentials
from database_service.actions.move_databases import drain, move, roll_back
from database_service.actions.release import release
from database_service.actions.steer_operation import cancel
from database_service.actions.try_again import try_again
from database_service.domain.errors import NothingToRetry, OperationNotFound, TransferFailed
from database_service.domain.ids import OperationId
from database_service.domain.operations import Operation, State
from database_service.domain.plans import Tier
from support.house import WHO, ask, login
from support.two_pools import ROWS, A, Two

STEPS = "SELECT array_agg(name || ' ' || state ORDER BY ordinal) FROM operation_steps WHERE operation_id = $1"


async def failed(two: Two) -> Operation:
    """A move whose copy did not fit."""

    async def full(*_: object) -> None:
        raise TransferFailed("pg_dump: No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(two.house.deps.transfers), "copy", full)
        operation = await two.house.finished((await move(two.house.deps, A, None, WHO)).id)
    assert operation.state is State.FAILED
    return operation


async def cancelled(two: Two, operation: Operation) -> Operation:
    await cancel(two.house.deps, operation.id, WHO)
    ended = await two.house.finished(operation.id)
    assert ended.state is State.CANCELLED
    return ended


async def succeeds(two: Two, operation: Operation) -> None:
    ended = await two.house.finished(operation.id)
    assert ended.state is State.SUCCEEDED, ended


async def test_a_move_that_failed_is_tried_again_once_however_often_it_is_asked_for(two: Two) -> None:
    operation = await failed(two)
    again, same = [await try_again(two.house.deps, operation.id, WHO) for _ in range(2)]
    assert (again.kind, again.id) == (operation.kind, same.id)
    assert again.id != operation.id
    await succeeds(two, again)
    assert await two.is_on(two.second)
    assert await two.rows() == ROWS
    with pytest.raises(NothingToRetry, match="is succeeded"):
        await try_again(two.house.deps, again.id, WHO)
    await two.sound()


async def test_a_change_of_plan_that_was_cancelled_is_the_same_change_again(two: Two) -> None:
    operation = await cancelled(two, await change_plan(two.house.hurried.deps, Wanted(A, "premium"), WHO))
    assert (await two.house.database(A)).plan_tier is not Tier.PREMIUM
    await succeeds(two, await try_again(two.house.deps, operation.id, WHO))
    assert (await two.house.database(A)).plan_tier is Tier.PREMIUM
    assert await two.rows() == ROWS
    await two.sound()


async def test_only_what_was_not_done_is_done_again(two: Two) -> None:
    session = await login(await credentials(two.house.deps, A, WHO))
    await session.execute("CREATE TABLE stray (x int)")
    await session.close()
    await allocate(two.house.deps, ask("b"), WHO)
    admin = await asyncpg.connect(two.house.tenant.dsn((await two.house.database(A)).name))
    await admin.execute("ALTER TABLE stray OWNER TO CURRENT_USER")
    operation = await two.house.finished((await drain(two.house.deps, two.first.id, WHO)).id)
    assert operation.state is State.FAILED
    await admin.execute("DROP TABLE stray")
    await admin.close()
    await two.house.pool(4, two.other)
    again = await try_again(two.house.deps, operation.id, WHO)
    await succeeds(two, again)
    assert await two.house.value(STEPS, again.id) == ["a succeeded"]
    assert not await two.is_on(two.first)
    assert await two.rows() == ROWS


async def test_where_nothing_is_left_it_says_so_and_nothing_is_begun(two: Two) -> None:
    operation = await failed(two)
    running = await move(two.house.deps, A, None, WHO)
    with pytest.raises(NothingToRetry, match="can be tried again"):
        await try_again(two.house.deps, running.id, WHO)
    await cancelled(two, running)
    await release(two.house.deps, A, WHO)
    for each in (operation, running):
        with pytest.raises(NothingToRetry, match="is left to be done"):
            await try_again(two.house.deps, each.id, WHO)
    with pytest.raises(OperationNotFound):
        await try_again(two.house.deps, OperationId(uuid4()), WHO)
    assert await two.house.value("SELECT count(*) FROM operations") == 2


async def test_a_way_back_is_asked_for_where_it_began(two: Two) -> None:
    moved = await two.house.finished((await move(two.house.deps, A, None, WHO)).id)
    back = await cancelled(two, await roll_back(two.house.deps, moved.id, WHO))
    with pytest.raises(NothingToRetry, match="at the operation that it takes back"):
        await try_again(two.house.deps, back.id, WHO)
    await succeeds(two, await roll_back(two.house.deps, moved.id, WHO))
    assert await two.is_on(two.first)
