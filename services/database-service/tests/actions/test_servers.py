"""Operators' verbs: order, cordon, check, retire, adopt; and what the fleet does by itself."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from database_service.actions.adopt_server import adopt, look
from database_service.actions.allocate import allocate, provision_dedicated
from database_service.actions.check_server import check
from database_service.actions.cordon_server import cordon, uncordon
from database_service.actions.order_server import order_pool
from database_service.actions.release import release
from database_service.actions.retire_server import retire
from database_service.actions.rotate import rotate
from database_service.domain.answers import AdoptTarget, Allocation, Pending
from database_service.domain.databases import Status as DatabaseStatus
from database_service.domain.errors import (
    AdoptionChanged,
    AdoptionRefused,
    AskDiffers,
    InvalidField,
    ServerNotEmpty,
    ServerNotFound,
)
from database_service.domain.ids import CustomerId, InstanceId, ServerId
from database_service.domain.plans import Tier
from database_service.domain.secret import Secret
from database_service.domain.servers import Health, Status
from database_service.reconcilers import capacity, upkeep
from database_service.reconcilers import databases as database_steps
from database_service.reconcilers.sweep import sweep
from support.house import WHO, House, ask

A, B = InstanceId("a"), InstanceId("b")
NOBODY = ServerId(uuid4())


async def test_a_pool_ordered_twice_with_one_key_is_one_pool(house: House) -> None:
    first, again = [await order_pool(house.deps, WHO, request_key="k") for _ in range(2)]
    other = await order_pool(house.deps, WHO)
    assert first.id == again.id != other.id


async def test_a_cordoned_pool_gets_no_new_databases(house: House) -> None:
    pool = await house.pool()
    await house.spares(1)
    await cordon(house.deps, pool.id, WHO, "upgrade")
    assert isinstance(await allocate(house.deps, ask(A), WHO), Pending)
    await uncordon(house.deps, pool.id, WHO)
    await house.until_quiet()
    assert isinstance(await allocate(house.deps, ask(A), WHO), Allocation)


async def test_a_pool_with_somebodys_database_is_not_retired(house: House) -> None:
    pool = await house.pool()
    await allocate(house.deps, ask(A), WHO)
    with pytest.raises(ServerNotEmpty, match="1 database"):
        await retire(house.deps, pool.id, WHO)
    assert isinstance(await allocate(house.deps, ask(B), WHO), Allocation)


async def test_retiring_and_allocating_at_once_never_lose_a_database(house: House) -> None:
    """Both orders are fine; a database on a server that goes is not."""
    for n in range(6):
        pool = await house.pool(slots=2)
        await house.spares(1)

        async def leave(server_id: ServerId = pool.id) -> bool:
            try:
                await retire(house.deps, server_id, WHO)
            except ServerNotEmpty:
                return False
            return True

        gone, answer = await asyncio.gather(leave(), allocate(house.deps, ask(f"race-{n}"), WHO))
        on_it = isinstance(answer, Allocation) and answer.server_id == pool.id
        assert gone is not on_it
        await house.until_quiet()
        if not gone:
            await cordon(house.deps, pool.id, WHO)


@pytest.mark.parametrize("verb", [retire, cordon, uncordon, check])
async def test_an_unknown_server_is_named(house: House, verb: object) -> None:
    with pytest.raises(ServerNotFound, match=str(NOBODY)):
        await verb(house.deps, NOBODY, WHO)  # type: ignore[operator]


async def test_a_check_logs_in_and_reads_facts(house: House) -> None:
    pool = await house.pool()
    house.clock.forward(timedelta(minutes=1))
    checked = await check(house.deps, pool.id, WHO)
    assert checked.health is Health.HEALTHY
    assert checked.last_health_check
    assert checked.last_health_check > pool.created_at + timedelta(seconds=59)
    assert checked.postgres_version == "18.6"
    assert checked.facts


# -- dedicated --------------------------------------------------------------------------------------------------------


async def test_provision_dedicated_asked_again_is_one_server(house: House) -> None:
    servers = await asyncio.gather(
        *(provision_dedicated(house.deps, A, CustomerId("c-1"), Tier.PREMIUM, WHO) for _ in range(5))
    )
    assert len({s.id for s in servers}) == 1
    with pytest.raises(AskDiffers):
        await provision_dedicated(house.deps, A, CustomerId("c-2"), Tier.PREMIUM, WHO)


async def test_no_dedicated_server_is_made_for_an_instance_whose_database_is_on_a_shared_one(house: House) -> None:
    await house.pool()
    await allocate(house.deps, ask(A), WHO)
    with pytest.raises(AskDiffers, match="server_type"):
        await provision_dedicated(house.deps, A, CustomerId("c-1"), Tier.PREMIUM, WHO)
    assert await house.value("SELECT count(*) FROM servers WHERE server_type = 'dedicated'") == 0


async def test_an_allocation_uses_the_server_that_was_provisioned_for_it(house: House) -> None:
    server = await provision_dedicated(house.deps, A, CustomerId("c-1"), Tier.PREMIUM, WHO)
    answer = await allocate(house.hurried.deps, ask(A, Tier.PREMIUM), WHO)
    assert isinstance(answer, Pending)
    assert answer.server_id == server.id
    assert await house.value("SELECT count(*) FROM servers") == 1


# -- capacity ---------------------------------------------------------------------------------------------------------


async def test_a_thousand_callers_order_the_right_number_of_pools_once(house: House) -> None:
    ordering = house.with_policy(auto_order=True)
    await asyncio.gather(*(allocate(house.deps, ask(), WHO) for _ in range(120)))
    ordered = await asyncio.gather(*(capacity.order_missing(ordering.deps) for _ in range(8)))
    assert sum(map(len, ordered)) == 3
    assert await house.value("SELECT count(*) FROM servers") == 3
    assert not await capacity.order_missing(ordering.deps)


async def test_spares_are_built_and_counted_as_slots(house: House) -> None:
    await house.pool(slots=3)
    await house.spares(2)
    assert await house.value("SELECT count(*) FROM databases WHERE status = 'spare'") == 2
    assert await house.value("SELECT count(*) FROM slots WHERE database_id IS NOT NULL") == 2
    await house.spares(9)
    assert await house.value("SELECT count(*) FROM databases WHERE status = 'spare'") == 3


# -- health -----------------------------------------------------------------------------------------------------------


async def test_a_server_that_cannot_be_reached_is_quarantined_and_returns_by_itself(house: House) -> None:
    pool = await house.pool()
    await house.spares(1)
    async with house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET port = 1 WHERE id = $1", pool.id)
    ill = await check(house.deps, pool.id, WHO)
    assert ill.health is Health.UNHEALTHY
    assert isinstance(await allocate(house.deps, ask(A), WHO), Pending)
    async with house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET port = $2 WHERE id = $1", pool.id, pool.port)
    await house.later(timedelta(minutes=10))
    assert (await house.server(pool.id)).health is Health.HEALTHY
    assert isinstance(await allocate(house.deps, ask(A), WHO), Allocation)


async def test_servers_nobody_looked_at_are_checked(house: House) -> None:
    pool = await house.pool()
    house.clock.forward(timedelta(minutes=6))
    assert await upkeep.check_health(house.deps) == 1
    assert (await house.server(pool.id)).due_at
    assert await upkeep.check_health(house.deps) == 0


@pytest.mark.parametrize("who_notices", ["a step", "enforcement"])
async def test_a_server_that_refuses_us_is_looked_at_at_once_and_hands_out_no_more_spares(
    house: House, who_notices: str
) -> None:
    pool = await house.pool()
    await house.spares(2)
    assert isinstance(await allocate(house.deps, ask(A), WHO), Allocation)
    async with house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET port = 1 WHERE id = $1", pool.id)
    if who_notices == "a step":
        await rotate(house.deps, A, WHO, overlap=timedelta(), request_key=None)
    else:
        await upkeep.enforce_limits(house.deps)
    for _ in range(house.deps.policy.health_failures):
        await house.later(timedelta(minutes=1))
    assert (await house.server(pool.id)).health is Health.UNHEALTHY
    assert not isinstance(await allocate(house.deps, ask(B), WHO), Allocation)


async def test_a_database_begun_on_a_server_that_fell_ill_is_seated_elsewhere(house: House) -> None:
    ill = await house.pool(slots=2, priority=10)
    async with house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET port = 1 WHERE id = $1", ill.id)
    assert isinstance(await allocate(house.hurried.deps, ask(A), WHO), Pending)
    await check(house.deps, ill.id, WHO)
    well = await house.pool(slots=2)
    for _ in range(4):
        await house.later(timedelta(minutes=1))
    answer = await allocate(house.deps, ask(A), WHO)
    assert isinstance(answer, Allocation)
    assert answer.server_id == well.id
    async with house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET port = $2 WHERE id = $1", ill.id, ill.port)
    await house.later(timedelta(minutes=10))
    assert await house.value("SELECT count(*) FROM slots WHERE server_id = $1 AND database_id IS NOT NULL", ill.id) == 0


async def test_a_pool_that_failed_long_ago_and_is_empty_is_cleaned_up(house: House) -> None:
    pool = await house.pool()
    async with house.deps.db.connection() as conn:
        await conn.execute(
            "UPDATE servers SET status = 'error', status_since = $2 WHERE id = $1", pool.id, house.clock()
        )
    assert await upkeep.cleanup_failed_pools(house.deps) == 0
    house.clock.forward(timedelta(days=1, minutes=1))
    assert await upkeep.cleanup_failed_pools(house.deps) == 1
    await house.until_quiet()
    assert (await house.server(pool.id)).status is Status.GONE


async def test_purge_released_ends_what_is_past_its_grace(house: House) -> None:
    await house.pool()
    await allocate(house.deps, ask(A), WHO)
    await release(house.deps, A, WHO)
    assert await upkeep.purge_released(house.deps) == 0
    house.clock.forward(timedelta(days=3, minutes=1))
    assert await upkeep.purge_released(house.deps) == 1
    assert (await house.database(A)).status is DatabaseStatus.PURGED


async def test_a_session_that_overruns_its_plan_is_ended_whatever_it_set(house: House) -> None:
    from support.house import login

    await house.pool()
    conn = await login(await allocate(house.deps, ask(A), WHO))
    await conn.execute("SET idle_in_transaction_session_timeout = 0")
    admin = await asyncpg.connect(house.tenant.dsn())
    await conn.execute("BEGIN")
    await admin.close()
    assert await upkeep.enforce_limits(house.deps) == 0
    await conn.close()


# -- adoption ---------------------------------------------------------------------------------------------------------


def _target(house: House, **changes: object) -> AdoptTarget:
    some = AdoptTarget(house.tenant.host, house.tenant.port, house.tenant.superuser, house.tenant.password, 5)
    return replace(some, **changes)  # type: ignore[arg-type]


async def test_adoption_looks_shows_and_changes_nothing_until_confirmed(house: House) -> None:
    adoption = await look(house.deps, _target(house))
    assert adoption.inventory.postgres_version == "18.6"
    assert await house.value("SELECT count(*) FROM servers") == 0
    with pytest.raises(AdoptionChanged):
        await adopt(house.deps, _target(house), "not that", WHO)
    server = await adopt(house.deps, _target(house), adoption.confirmation, WHO)
    assert (await house.settled(server.id)).status is Status.ACTIVE
    assert isinstance(await allocate(house.deps, ask(A), WHO), Allocation)


async def test_a_server_is_adopted_once(house: House) -> None:
    confirmation = (await look(house.deps, _target(house))).confirmation
    first, again = [await adopt(house.deps, _target(house), confirmation, WHO) for _ in range(2)]
    assert first.id == again.id


async def test_what_cannot_be_logged_in_to_is_not_adopted(house: House) -> None:
    with pytest.raises(AdoptionRefused, match="cannot be adopted") as refusal:
        await look(house.deps, _target(house, password=Secret("not-the-password")))
    assert "not-the-password" not in str(refusal.value)
    with pytest.raises(AdoptionRefused):
        await look(house.deps, _target(house, port=1))


async def test_retiring_an_adopted_server_drops_our_spares_and_forgets_it(house: House) -> None:
    pool = await house.pool()
    await house.spares(2)
    name = await house.value("SELECT name FROM databases LIMIT 1")
    await retire(house.deps, pool.id, WHO)
    await house.later(timedelta(minutes=1))
    assert (await house.server(pool.id)).status is Status.GONE
    conn = await asyncpg.connect(house.tenant.dsn())
    assert await conn.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name) == 0
    await conn.close()


async def test_an_adopted_server_that_was_forgotten_can_be_adopted_again(house: House) -> None:
    confirmation = (await look(house.deps, _target(house))).confirmation
    first = await adopt(house.deps, _target(house), confirmation, WHO)
    await house.settled(first.id)
    await retire(house.deps, first.id, WHO)
    await house.later(timedelta(minutes=1))
    confirmation = (await look(house.deps, _target(house))).confirmation
    again = await adopt(house.deps, _target(house), confirmation, WHO)
    assert again.id != first.id
    assert (await house.settled(again.id)).status is Status.ACTIVE


async def test_a_name_that_another_server_has_is_refused_by_name(house: House) -> None:
    pool = await house.pool()
    target = _target(house, name=pool.name)
    with pytest.raises(InvalidField, match=pool.name):
        await adopt(house.deps, target, (await look(house.deps, target)).confirmation, WHO)


# -- nobody is held up by another -------------------------------------------------------------------------------------


async def test_a_dedicated_server_that_is_being_removed_does_not_answer_for_its_instance(house: House) -> None:
    server = await provision_dedicated(house.deps, A, CustomerId("c-1"), Tier.PREMIUM, WHO)
    await retire(house.deps, server.id, WHO)
    answer = await allocate(house.hurried.deps, ask(A, Tier.PREMIUM), WHO)
    assert isinstance(answer, Pending)
    assert answer.server_id not in (None, server.id)


async def test_a_row_whose_secret_cannot_be_opened_keeps_no_other_from_its_step(house: House) -> None:
    pool = await house.pool()
    for instance in (A, B):
        await allocate(house.deps, ask(instance), WHO)
    async with house.deps.db.connection() as conn:
        await conn.execute(
            "UPDATE logins SET password_sealed = 'lost:x' WHERE database_id = $1", (await house.database(A)).id
        )
        await conn.execute("UPDATE databases SET limits_tier = 'starter', due_at = $1", house.clock())
    await house.until_quiet()
    assert "key" in ((await house.database(A)).last_error or "")
    assert (await house.database(B)).limits_tier is Tier.FREE
    assert (await house.server(pool.id)).status is Status.ACTIVE


async def test_a_step_that_crashes_is_passed_by(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.pool()
    for instance in (A, B):
        await allocate(house.deps, ask(instance), WHO)
    bad = (await house.database(A)).id
    real = database_steps.step

    async def crashes(deps: object, database_id: object) -> object:
        if database_id == bad:
            raise RuntimeError("a defect")
        return await real(deps, database_id)  # type: ignore[arg-type]

    monkeypatch.setattr(database_steps, "step", crashes)
    async with house.deps.db.connection() as conn:
        await conn.execute("UPDATE databases SET limits_tier = 'starter', due_at = $1", house.clock())
    await sweep(house.deps)
    assert (await house.database(B)).limits_tier is Tier.FREE
