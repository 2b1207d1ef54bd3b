"""Rows under two hands at once."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from instance_service.actions import steer
from instance_service.actions.create import create
from instance_service.domain.errors import InstanceDiffers
from instance_service.domain.instances import Status
from instance_service.domain.plans import Tier
from instance_service.reconcilers.sweep import sweep
from instance_service.store import instances
from instance_support.house import WHO, House, ask

LEASE = timedelta(seconds=90)


async def test_ten_who_ask_for_one_name_at_once_get_one_instance(house: House) -> None:
    wanted = ask()
    made = await asyncio.gather(*(create(house.deps, wanted, WHO) for _ in range(10)))
    assert len({instance.id for instance in made}) == 1


async def test_a_name_is_free_again_when_its_instance_is_deleted(house: House) -> None:
    wanted = ask()
    first = await create(house.deps, wanted, WHO)
    await house.until(first.id, Status.RUNNING)
    await steer.delete(house.deps, first.id, WHO)
    await house.until(first.id, Status.DELETED)
    assert (await create(house.deps, wanted, WHO)).id != first.id


async def test_the_same_key_finds_the_same_instance_and_refuses_another_wish(house: House) -> None:
    wanted = ask()
    first = await create(house.deps, wanted, WHO, request_key="k")
    assert (await create(house.deps, wanted, WHO, request_key="k")).id == first.id
    with pytest.raises(InstanceDiffers, match="plan_tier"):
        await create(house.deps, replace(wanted, plan_tier=Tier.PREMIUM), WHO, request_key="k")


async def test_of_two_steps_one_gets_the_row(house: House) -> None:
    made = await create(house.deps, ask(), WHO)
    async with house.deps.db.transaction() as first:
        assert await instances.claim(first, made.id, house.clock(), LEASE, uuid4())
        async with house.deps.db.connection() as second:
            second_claim = asyncio.create_task(instances.claim(second, made.id, house.clock(), LEASE, uuid4()))
            await _is_blocked(house)
            await first.execute("SELECT 1")
            assert not second_claim.done()
            await first.execute("COMMIT")
            assert await second_claim is None
            await first.execute("BEGIN")


async def _is_blocked(house: House) -> None:
    """Return when somebody waits for a lock."""
    async with house.deps.db.connection() as conn:
        while not await conn.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            pass


async def test_what_a_step_makes_of_a_row_that_a_caller_changed_meanwhile_counts_for_nothing(house: House) -> None:
    made = await create(house.deps, ask(), WHO)
    async with house.deps.db.connection() as conn:
        leased = await instances.claim(conn, made.id, house.clock(), LEASE, uuid4())
        assert leased
        await steer.delete(house.deps, made.id, WHO)
        assert await instances.save(conn, replace(leased, status=Status.STARTING)) is None
    assert await house.status(made.id) is Status.DELETING


async def test_one_that_a_dead_worker_held_goes_on_when_its_lease_is_over(house: House) -> None:
    made = await create(house.deps, ask(), WHO)
    async with house.deps.db.connection() as conn:
        await instances.claim(conn, made.id, house.clock(), LEASE, uuid4())
    await sweep(house.deps)
    assert await house.status(made.id) is Status.PENDING
    house.clock.forward(LEASE)
    await house.until(made.id, Status.RUNNING)


@pytest.mark.parametrize(
    "change",
    [
        "due_at = NULL",
        "status = 'deleted'",
        "errand = gen_random_uuid()",
        "given_host = 'h'",
        "host = 'h'",
        "lease_token = gen_random_uuid()",
        "status = 'lost'",
        "customer_id = 'a b'",
    ],
)
async def test_a_row_that_contradicts_itself_is_refused(house: House, change: str) -> None:
    made = await create(house.deps, ask(), WHO)
    with pytest.raises(asyncpg.CheckViolationError):
        async with house.deps.db.transaction() as conn:
            await conn.execute(f"UPDATE instances SET {change} WHERE id = $1", made.id)
