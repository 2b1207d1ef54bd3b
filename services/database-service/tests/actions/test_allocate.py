"""Allocation: exactly one database for an instance, from a spare, built at once, or promised."""

import asyncio
from datetime import timedelta

import pytest

from database_service.actions.allocate import allocate
from database_service.domain.answers import Allocation, Pending
from database_service.domain.databases import Status
from database_service.domain.errors import AskDiffers, InvalidField, UnknownTemplate
from database_service.domain.plans import Tier
from support.house import WHO, House, ask, login


async def test_without_a_spare_the_database_is_built_within_the_call(house: House) -> None:
    await house.pool()
    answer = await allocate(house.deps, ask("a"), WHO)
    conn = await login(answer)
    assert await conn.fetchval("SELECT 6 * 7") == 42
    await conn.close()


async def test_a_spare_is_handed_out_without_touching_its_server(house: House) -> None:
    pool = await house.pool()
    await house.spares(2)
    answer = await allocate(house.deps, ask("a"), WHO)
    assert isinstance(answer, Allocation)
    assert answer.server_id == pool.id
    assert (await house.database("a")).due_at is None
    await (await login(answer)).close()


async def test_the_same_ask_gets_the_same_answer(house: House) -> None:
    await house.pool()
    wanted = ask("a")
    first, second = await allocate(house.deps, wanted, WHO), await allocate(house.deps, wanted, WHO)
    assert isinstance(first, Allocation)
    assert isinstance(second, Allocation)
    assert (first.database.name, first.login, first.password) == (second.database.name, second.login, second.password)


async def test_another_ask_for_the_same_instance_is_refused_and_names_what_differs(house: House) -> None:
    await house.pool()
    await allocate(house.deps, ask("a"), WHO)
    with pytest.raises(AskDiffers, match="plan_tier"):
        await allocate(house.deps, ask("a", Tier.STARTER), WHO)


async def test_callers_at_once_for_one_instance_get_one_database(house: House) -> None:
    await house.pool()
    await house.spares(3)
    wanted = ask("a")
    answers = await asyncio.gather(*(allocate(house.deps, wanted, WHO) for _ in range(8)))
    assert len({(a.database.name, a.password) for a in answers if isinstance(a, Allocation)}) == 1
    assert all(isinstance(a, Allocation) for a in answers)
    assert await house.value("SELECT count(*) FROM databases WHERE instance_id = 'a'") == 1
    assert await house.value("SELECT count(*) FROM databases WHERE status = 'spare'") == 2


async def test_callers_at_once_without_a_spare_wait_for_the_one_build(house: House) -> None:
    await house.pool()
    wanted = ask("a")
    answers = await asyncio.gather(*(allocate(house.deps, wanted, WHO) for _ in range(6)))
    assert {a.password for a in answers if isinstance(a, Allocation)} == {answers[0].password}  # type: ignore[union-attr]
    assert len(answers) == len([a for a in answers if isinstance(a, Allocation)])


async def test_a_server_never_holds_more_than_its_slots(house: House) -> None:
    await house.pool(slots=3)
    answers = await asyncio.gather(*(allocate(house.deps, ask(), WHO) for _ in range(8)))
    assert len([a for a in answers if isinstance(a, Allocation)]) == 3
    assert {a.status for a in answers if isinstance(a, Pending)} == {Status.WAITING}


async def test_who_waits_gets_the_next_room(house: House) -> None:
    first = await allocate(house.deps, ask("a"), WHO)
    assert isinstance(first, Pending)
    await house.pool()
    await house.until_quiet()
    answer = await allocate(house.deps, ask("a"), WHO)
    await (await login(answer)).close()


async def test_who_waits_longest_gets_a_spare_first(house: House) -> None:
    for name in ("a", "b"):
        await allocate(house.deps, ask(name), WHO)
    pool = await house.pool(slots=1)
    await house.until_quiet()
    assert (await house.database("a")).status is Status.READY
    assert (await house.database("b")).status is Status.WAITING
    assert (await house.database("a")).server_id == pool.id


async def test_a_plan_wider_than_the_spares_gets_its_limits_from_the_worker(house: House) -> None:
    await house.pool()
    await house.spares(1)
    answer = await allocate(house.deps, ask("a", Tier.STANDARD), WHO)
    await house.until_quiet()
    conn = await login(answer)
    assert await conn.fetchval("SHOW statement_timeout") == "2min"
    await conn.close()


async def test_a_wanted_name_is_given_to_a_spare(house: House) -> None:
    await house.pool()
    await house.spares(1)
    answer = await allocate(house.deps, ask("a", database_name="shop"), WHO)
    conn = await login(answer)
    assert await conn.fetchval("SELECT current_database()") == "shop"
    await conn.close()
    assert await house.value("SELECT count(*) FROM databases") == 1


async def test_a_wanted_name_that_a_server_has_is_given_on_another(house: House) -> None:
    # Both stand on one real server here, so only the seat is looked at.
    await house.pool(slots=2)
    await allocate(house.deps, ask("a", database_name="crm"), WHO)
    answer = await allocate(house.deps, ask("b", database_name="crm"), WHO)
    assert isinstance(answer, Pending)
    assert answer.status is Status.WAITING
    assert "the name 'crm'" in answer.message


@pytest.mark.parametrize("name", ["postgres", "template1", "Shop", "a b", "", "x" * 64, 'a"b', "pg_x", "dbs_x", "é"])
async def test_a_bad_name_is_refused_and_nothing_is_stored(house: House, name: str) -> None:
    with pytest.raises(InvalidField, match="database_name"):
        await allocate(house.deps, ask("a", database_name=name), WHO)
    assert await house.value("SELECT count(*) FROM databases") == 0


async def test_an_unknown_template_is_refused(house: House) -> None:
    with pytest.raises(UnknownTemplate):
        await allocate(house.deps, ask("a", template="odoo"), WHO)


async def test_a_caller_who_waits_is_told_as_soon_as_it_is_ready(house: House) -> None:
    waiting = asyncio.create_task(allocate(house.deps, ask("a"), WHO, wait=timedelta(seconds=20)))
    await house.pool()
    while not waiting.done():
        await house.until_quiet()
        await asyncio.wait([waiting], timeout=0.2)
    assert isinstance(await waiting, Allocation)
