"""Search finds what begins so, all of it, once, in order, by the index."""

from collections.abc import Callable
from itertools import product

import pytest

from database_service.actions.allocate import allocate
from database_service.actions.release import release
from database_service.domain.ids import InstanceId
from database_service.domain.usage import Level
from database_service.views import search
from database_service.views.search import By, Found
from support.house import WHO, House, ask

KEY: dict[By, Callable[[Found], str]] = {
    By.INSTANCE: lambda found: found.instance_id,
    By.CUSTOMER: lambda found: found.customer_id,
    By.NAME: lambda found: found.name,
}
# `_` would be any character to LIKE, and case and points change places from one collation to another.
IDS = ("a", "A", "a_b", "axb", "a-b", "a.b", "ab", "B", "z", "a" * 64, "_", "Z9")


async def _waiting(house: House) -> None:
    for number, (instance, customer) in enumerate(product(IDS[:4], IDS)):
        await allocate(house.deps, ask(f"{instance}{number}", customer=customer, database_name=f"n_{number}"), WHO)


async def _all_of(house: House, by: By, text: str, limit: int) -> list[Found]:
    found: list[Found] = []
    after = ""
    while True:
        page = await search.search(house.deps, by, text, after=after, limit=limit)
        assert len(page.databases) <= limit
        found += page.databases
        if page.next_after is None:
            return found
        after = page.next_after


async def test_what_begins_so_is_found_in_order_and_once_page_by_page(house: House) -> None:
    await _waiting(house)
    everything = [each for customer in IDS for each in await _all_of(house, By.CUSTOMER, customer, 100)]
    known = {each.instance_id: each for each in everything}
    assert len(known) == 4 * len(IDS)
    for by, text in product(By, ("a", "A", "a_", "a.", "n_", "n_1", "Z", "nothing", "_")):
        wanted = [each for each in known.values() if KEY[by](each).startswith(text)]
        wanted.sort(key=lambda each: (KEY[by](each), each.instance_id))
        for limit in (3, 100):
            assert await _all_of(house, by, text, limit) == wanted, (by, text, limit)


async def test_a_page_after_something_that_begins_otherwise_shows_nothing_that_does(house: House) -> None:
    for instance in ("a", "b", "c"):
        await allocate(house.deps, ask(instance, customer=instance, database_name=instance), WHO)
    for by in By:
        assert (await search.search(house.deps, by, "c", after="a")).databases[0].instance_id == "c", by
        assert (await search.search(house.deps, by, "b", after="c")).databases == (), by


async def test_what_is_deleted_is_not_found_and_what_may_come_back_is(house: House) -> None:
    await house.pool()
    for instance in ("stays", "released", "purged"):
        await allocate(house.deps, ask(instance), WHO)
    await release(house.deps, InstanceId("purged"), WHO)
    await house.until_quiet()
    purge_after = (await house.database("purged")).purge_after
    assert purge_after
    await house.later(purge_after - house.clock())
    await release(house.deps, InstanceId("released"), WHO)
    await house.until_quiet()
    found = await search.search(house.deps, By.CUSTOMER, "c-1")
    assert [(each.instance_id, each.status) for each in found.databases] == [
        ("released", "released"),
        ("stays", "ready"),
    ]
    assert [each.instance_id for each in await search.newest(house.deps)] == ["released", "stays"]
    assert [each.instance_id for each in await search.in_state(house.deps, "released")] == ["released"]


async def test_those_that_are_nearly_full_are_listed_by_their_level(house: House) -> None:
    await house.pool()
    await allocate(house.deps, ask("small"), WHO)
    await allocate(house.deps, ask("large"), WHO)
    async with house.deps.db.connection() as conn:
        await conn.execute(
            "INSERT INTO usage (database_id, server_id, sampled_at, connections, transactions, blocks, temp_bytes, busy_s, "
            "size_bytes, sized_at, level, level_since) SELECT id, server_id, now(), 0, 0, 0, 0, 0, 5, now(), "
            "CASE instance_id WHEN 'large' THEN 'critical' ELSE 'ok' END, now() FROM databases WHERE instance_id IS NOT NULL"
        )
    [found] = await search.at_level(house.deps, Level.CRITICAL)
    assert (found.instance_id, found.size_bytes, found.level) == ("large", 5, "critical")


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (search.BY_INSTANCE, "databases_by_instance"),
        (search.BY_CUSTOMER, "databases_by_customer"),
        (search.BY_NAME, "databases_by_name"),
    ],
)
async def test_a_page_is_one_stretch_of_an_index_wherever_it_begins(house: House, query: str, index: str) -> None:
    async with house.deps.db.transaction() as conn:
        await conn.execute("SET LOCAL enable_seqscan = off")
        await conn.execute("SET LOCAL enable_bitmapscan = off")
        await conn.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await conn.execute(f"PREPARE asked (text, text, text, int) AS {query}")
        plan = "\n".join(row[0] for row in await conn.fetch("EXPLAIN EXECUTE asked ('a', 'b', 'a1', 50)"))
        await conn.execute("DEALLOCATE asked")
    assert f"Index Scan using {index}" in plan
    assert "Sort" not in plan
