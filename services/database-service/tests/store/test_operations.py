"""What no row of operations and their steps may be, and what happens to a record that comes late."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from database_service.actions.change_servers import roll_out
from database_service.actions.steer_operation import pause
from database_service.domain.ids import OperationId
from database_service.domain.operations import Operation, State, Target
from database_service.store import operations
from support.house import WHO, House

UNSOUND = {
    "an unknown state": "state = 'lost'",
    "an unknown kind": "kind = 'magic'",
    "over and due": "state = 'succeeded', finished_at = now()",
    "over without an end": "state = 'succeeded', due_at = NULL",
    "running and never looked at": "state = 'running', due_at = NULL",
    "paused and due": "state = 'paused'",
    "ended and still running": "state = 'running', finished_at = now()",
    "failed for no reason": "state = 'failed', due_at = NULL, finished_at = now()",
    "over with a wish": "state = 'succeeded', due_at = NULL, finished_at = now(), wish = 'pause'",
    "a lease without an owner": "lease_until = now()",
}
UNSOUND_STEPS = {
    "an unknown state": "state = 'lost'",
    "running and never begun": "state = 'running'",
    "done without an end": "state = 'succeeded', started_at = now()",
    "ended and not begun": "finished_at = now()",
    "failed for no reason": "state = 'failed', started_at = now(), finished_at = now()",
    "going back for no reason": "state = 'undoing', started_at = now()",
}


async def begun(house: House) -> Operation:
    pool = await house.pool()
    return await roll_out(house.deps, WHO, [pool.id], Target(max_instances=11))


@pytest.mark.parametrize("change", UNSOUND.values(), ids=UNSOUND)
async def test_no_operation_can_be(house: House, change: str) -> None:
    await begun(house)
    async with house.deps.db.connection() as conn:
        with pytest.raises(asyncpg.CheckViolationError):
            await conn.execute(f"UPDATE operations SET {change}")


@pytest.mark.parametrize("change", UNSOUND_STEPS.values(), ids=UNSOUND_STEPS)
async def test_no_step_can_be(house: House, change: str) -> None:
    await begun(house)
    async with house.deps.db.connection() as conn:
        with pytest.raises(asyncpg.CheckViolationError):
            await conn.execute(f"UPDATE operation_steps SET {change}")


async def test_two_claims_of_one_operation_are_one(house: House) -> None:
    operation = await begun(house)
    async with house.deps.db.connection() as conn:
        claims = [
            await operations.claim(conn, operation.id, house.clock(), timedelta(minutes=1), uuid4()) for _ in range(2)
        ]
    assert [claim is not None for claim in claims] == [True, False]


async def test_what_was_found_before_somebody_wished_otherwise_is_not_recorded(house: House) -> None:
    operation = await begun(house)
    async with house.deps.db.connection() as conn:
        claimed = await operations.claim(conn, operation.id, house.clock(), timedelta(minutes=1), uuid4())
        assert claimed
        await pause(house.deps, operation.id, WHO)
        assert await operations.save(conn, claimed.become(State.RUNNING, house.clock())) is None
        assert not await operations.still(conn, claimed)


async def test_an_operation_that_is_not_there_is_none(house: House) -> None:
    async with house.deps.db.connection() as conn:
        nobody = OperationId(uuid4())
        assert await operations.get(conn, nobody) is None
        assert await operations.holder(conn, nobody) is None
        missing = replace(await begun(house), id=nobody)
        assert await operations.save(conn, missing) is None
