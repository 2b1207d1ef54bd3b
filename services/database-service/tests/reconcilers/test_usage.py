"""From a sample to a stop and back: who is told, when, and what survives plans, moves and releases."""

from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from database_service.actions.allocate import allocate
from database_service.actions.change_plan import Wanted, change_plan
from database_service.actions.credentials import credentials
from database_service.actions.move_databases import move
from database_service.actions.release import release, undelete
from database_service.domain import usage as rules
from database_service.domain.databases import Status
from database_service.domain.ids import InstanceId
from database_service.domain.plans import MIB, PLANS, Tier
from database_service.domain.usage import Stop
from database_service.reconcilers.usage import sample_usage
from database_service.views import databases as view
from support.house import WHO, House, ask, login
from support.two_pools import Two

A = InstanceId("a")
REFUSED = asyncpg.ConfigurationLimitExceededError
FILL = "INSERT INTO filled SELECT g, repeat('x', 1000) FROM generate_series(1, {rows}) g"
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def small_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh database has some 8 MiB."""
    for tier, most in ((Tier.FREE, 16), (Tier.STARTER, 16), (Tier.STANDARD, 64)):
        monkeypatch.setitem(PLANS, tier, replace(PLANS[tier], storage_bytes=most * MIB))


@pytest.fixture
async def used(house: House) -> House:
    """Instance `a` with a table to fill."""
    await house.pool()
    await allocate(house.deps, ask(A), WHO)
    await run(house, "CREATE TABLE filled (n int, what text)")
    return house


async def run(house: House, *statements: str) -> None:
    conn = await login(await credentials(house.deps, A, WHO))
    try:
        for statement in statements:
            await conn.execute(statement)
    finally:
        await conn.close()


async def looked(house: House) -> str:
    """The state after another look, once everything that follows from it is done."""
    house.clock.forward(MINUTE)
    await sample_usage(house.deps)
    await house.until_quiet()
    usage = (await view.status(house.deps, A)).usage
    assert usage
    return usage.level


async def filled(house: House) -> None:
    await run(house, FILL.format(rows=12_000))
    assert await looked(house) == "stopped"


async def actions(house: House) -> list[str]:
    async with house.deps.db.connection() as conn:
        rows = await conn.fetch("SELECT action, why FROM events WHERE instance_id = $1 ORDER BY id", A)
    return [row["why"] or row["action"] for row in rows if "storage" in row["action"] or "writes" in row["action"]]


async def test_each_crossing_is_told_of_once_and_a_full_database_is_stopped(used: House) -> None:
    assert await looked(used) == "ok"
    await run(used, FILL.format(rows=6_000))
    assert [await looked(used), await looked(used)] == ["warning"] * 2
    await filled(used)
    with pytest.raises(REFUSED, match="16 MiB of its plan"):
        await run(used, FILL.format(rows=1))
    assert await looked(used) == "stopped"
    told = await actions(used)
    assert [why.split(":")[0] for why in told] == [
        "from ok to warning",
        "from warning to stopped",
        "database.writes_stopped",
    ]
    assert "of the 16 MiB of its plan" in told[0]


async def test_a_database_that_was_cleaned_is_free_by_itself(used: House) -> None:
    await filled(used)
    await run(used, "DELETE FROM filled", "VACUUM FULL filled")
    assert await looked(used) == "ok"
    await run(used, FILL.format(rows=1))
    assert (await actions(used))[-1] == "database.writes_allowed"


async def test_a_bigger_plan_frees_it_without_another_look(used: House) -> None:
    await filled(used)
    await change_plan(used.deps, Wanted(A, "standard"), WHO)
    await used.until_quiet()
    await run(used, FILL.format(rows=1))
    assert (await view.status(used.deps, A)).usage.level == "ok"  # type: ignore[union-attr]


async def test_a_plan_that_is_no_bigger_does_not(used: House) -> None:
    await filled(used)
    await change_plan(used.deps, Wanted(A, "starter"), WHO)
    await used.until_quiet()
    with pytest.raises(REFUSED):
        await run(used, FILL.format(rows=1))


async def test_a_lost_nudge_delays_a_stop_until_the_sweep(used: House) -> None:
    await run(used, FILL.format(rows=12_000))
    await sample_usage(used.deps)
    database = await used.database(A)
    assert (database.stop, database.stop_wanted) == (Stop.NONE, Stop.WRITES)
    await used.until_quiet()
    assert (await used.database(A)).stop is Stop.WRITES


async def test_a_table_that_came_about_all_the_same_is_found_when_the_database_grows(used: House) -> None:
    await filled(used)
    dsn = used.tenant.dsn((await used.database(A)).name)
    conn = await asyncpg.connect(dsn)
    await conn.execute(f'SET ROLE "{(await used.database(A)).owner_role}"; CREATE TABLE slipped (n int, what text)')
    await conn.close()
    await run(used, FILL.format(rows=500).replace("filled", "slipped"))
    await looked(used)
    with pytest.raises(REFUSED):
        await run(used, FILL.format(rows=1).replace("filled", "slipped"))


async def test_one_that_goes_on_growing_loses_its_door_and_a_bigger_plan_opens_it(
    used: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "SHUT_BEYOND", 1.1)
    await filled(used)
    large = "SELECT lo_from_bytea(0, decode(string_agg(md5(g::text), ''), 'hex')) FROM generate_series(1, 300000) g"
    await run(used, large)
    assert await looked(used) == "stopped"
    assert (await used.database(A)).stop is Stop.DOOR
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await run(used, "SELECT 1")
    await change_plan(used.deps, Wanted(A, "standard"), WHO)
    await used.until_quiet()
    await run(used, FILL.format(rows=1))


async def test_a_release_and_its_undelete_keep_the_stop(used: House) -> None:
    await filled(used)
    await release(used.deps, A, WHO)
    await undelete(used.deps, A, WHO)
    await used.until_quiet()
    with pytest.raises(REFUSED):
        await run(used, FILL.format(rows=1))


async def test_what_is_purged_leaves_no_usage(used: House) -> None:
    await looked(used)
    await release(used.deps, A, WHO)
    await used.later(timedelta(days=40))
    assert (await used.database(A)).status is Status.PURGED
    assert await used.value("SELECT count(*) FROM usage") == 0


async def test_two_who_look_at_once_tell_of_a_crossing_once(used: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await run(used, FILL.format(rows=6_000))
    usage = type(used.deps.tenants).usage

    async def seen_by_another_first(*arguments: object) -> object:
        monkeypatch.setattr(type(used.deps.tenants), "usage", usage)
        found = await usage(*arguments)  # type: ignore[arg-type]
        await sample_usage(used.deps)
        return found

    monkeypatch.setattr(type(used.deps.tenants), "usage", seen_by_another_first)
    await sample_usage(used.deps)
    assert len(await actions(used)) == 1


async def test_a_server_that_does_not_answer_is_looked_at_and_the_others_are_sampled(
    used: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await used.server((await used.database(A)).server_id)  # type: ignore[arg-type]
    await used.value("UPDATE servers SET port = 1, due_at = NULL WHERE id = $1", server.id)
    assert await sample_usage(used.deps) == 0
    assert (await used.server(server.id)).due_at is not None


async def test_a_stopped_database_is_stopped_where_it_has_moved_to(two: Two) -> None:
    await run(two.house, "CREATE TABLE filled (n int, what text)")
    await filled(two.house)
    operation = await two.house.finished((await move(two.house.deps, A, None, WHO)).id)
    assert operation.state == "succeeded", operation
    assert await two.is_on(two.second)
    await two.house.until_quiet()
    with pytest.raises(REFUSED):
        await run(two.house, FILL.format(rows=1))
    assert await looked(two.house) == "stopped"
    await run(two.house, "TRUNCATE filled")
    assert await looked(two.house) == "ok"
    await two.sound()
