"""Growth and use on the pages of servers and databases: tables that say all, from which a script draws."""

import re
from datetime import date, timedelta

import pytest

from database_service.actions.allocate import allocate
from database_service.domain.servers import Server
from database_service.reconcilers.upkeep import check_health
from database_service.reconcilers.usage import sample_usage
from support.house import WHO, House, ask
from support.hub import Hub

SIZES = {"small": 10, "large": 900_000_000, "middle": 20_000_000}


@pytest.fixture
async def pool(house: House) -> Server:
    """With three databases that were looked at in two hours of one day."""
    pool = await house.pool(slots=7)
    for instance in SIZES:
        await allocate(house.deps, ask(instance), WHO)
    await sample_usage(house.deps)
    house.clock.forward(timedelta(hours=1))
    await sample_usage(house.deps)
    for instance, size in SIZES.items():
        await house.value(
            "UPDATE usage SET size_bytes = $2 WHERE database_id = (SELECT id FROM databases WHERE instance_id = $1)",
            instance,
            size,
        )
    return pool


async def test_a_server_shows_how_it_grew_as_figures_that_name_columns_of_a_table(hub: Hub, pool: Server) -> None:
    async with hub.visit() as visitor:
        for path in (f"/pools/{pool.id}", f"/parts/pools/{pool.id}/growth"):
            answer = await visitor.get(path)
            [table] = re.findall(r'<table id="growth-table">.*?</table>', answer.text, re.DOTALL)
            assert len(re.findall(r"<tr><th scope=\"row\"><time", table)) == 2
            figures = re.findall(r'data-table="growth-table" data-column="(\d)"(?: data-limit="(\d+)")?', answer.text)
            assert [column for column, _ in figures] == ["1", "2", "3", "4"]
            assert figures[0] == ("1", "7")
            assert int(figures[2][1]) > 7, "the most connections that it takes"
        assert "<script src=" not in answer.text, "a part brings none"
        assert 'aria-current="true">All that is kept' in (await visitor.get(f"/pools/{pool.id}?by=day")).text
        told = await visitor.shows(f"/pools/{pool.id}?by=day")
        assert "Slots taken 3 at first, 3 at last, 3 at most; there are 7" in told


async def test_a_server_that_was_never_measured_says_so(hub: Hub, house: House) -> None:
    pool = await house.pool()
    async with hub.visit() as visitor:
        told = await visitor.shows(f"/pools/{pool.id}")
        assert "Nothing was measured yet." in told
        assert "There are none here." in told


async def test_the_settings_in_force_are_those_that_the_server_told(hub: Hub, house: House) -> None:
    pool = await house.pool()
    async with hub.visit() as visitor:
        await house.value("UPDATE servers SET facts = facts - 'settings'")
        assert "Settings in force It was not asked yet." in await visitor.shows(f"/pools/{pool.id}")
        house.clock.forward(timedelta(hours=1))
        await check_health(house.deps)
        told = await visitor.shows(f"/pools/{pool.id}")
        assert re.search(r"shared_buffers \d+[kMG]B", told)
        assert re.search(r"max_connections \d+", told)


async def test_databases_of_a_server_are_told_by_size_or_name_a_page_at_a_time(
    hub: Hub, pool: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database_service.ui.pages.growth.A_PAGE", 2)
    async with hub.visit() as visitor:

        async def instances(query: str) -> list[str]:
            page = await visitor.get(f"/parts/pools/{pool.id}/databases{query}")
            return re.findall(r'<th scope="row"><a href="/admin/databases/(\w+)">', page.text)

        assert await instances("") == ["large", "middle"]
        assert await instances("?number=2") == ["small"]
        assert await instances("?sort=name") == ["large", "middle"]
        assert await instances("?sort=name&number=2") == ["small"]
        assert await instances("?number=3") == []
        told = await visitor.shows(f"/pools/{pool.id}")
        assert "3 in all, the largest first" in told
        assert re.search(r"large ready free 900 MB 83 % 0 of \d+", told)
        [following] = re.findall(r'rel="next" href="/admin([^"]+)"', (await visitor.get(f"/pools/{pool.id}")).text)
        assert "small" in await visitor.shows(following.replace("&amp;", "&"))


@pytest.mark.parametrize("query", ["?by=week", "?sort=colour", "?number=0", "?number=10001", "?number=x"])
async def test_what_is_asked_for_and_is_not_there_is_refused(hub: Hub, pool: Server, query: str) -> None:
    async with hub.visit() as visitor:
        assert (await visitor.get(f"/pools/{pool.id}{query}")).status_code == 422


async def test_a_database_shows_its_size_day_by_day_and_when_it_will_be_full(
    hub: Hub, pool: Server, house: House
) -> None:
    async with hub.visit() as visitor:
        assert "data-limit" in (await visitor.get("/databases/large")).text
        assert "data-limit" not in (await visitor.get("/databases/small")).text, "it is far from its plan's storage"
        assert "used up on about" not in await visitor.shows("/databases/large")
        await house.value(
            "UPDATE database_history SET sizes = ARRAY(SELECT 1e8 + g * 5e7 FROM generate_series(1, 16) g)::real[]"
        )
        today = house.clock().date()
        told = await visitor.shows("/parts/databases/large/growth")
        assert f"used up on about {today + timedelta(days=4)}" in told, "1.07 GB less 900 MB, at 50 MB a day"
        assert "Size 150 MB at first, 900 MB at last, 900 MB at most; the plan gives 1.07 GB" in told
        await house.value(
            "UPDATE database_history SET last_day = last_day - 10, full_on = $1", today + timedelta(days=2)
        )
        assert "used up on about" not in await visitor.shows("/databases/large"), "nobody has looked since"
        assert "full soon" not in await visitor.shows()


async def test_the_hub_names_who_will_be_full_within_two_weeks_and_counts_all(
    hub: Hub, pool: Server, house: House
) -> None:
    soon = house.clock().date() + timedelta(days=3)
    async with hub.visit() as visitor:
        assert "full soon" not in await visitor.shows()

        async def expected(on: date) -> str:
            await house.value("UPDATE database_history SET full_on = $1", on)
            await house.value("UPDATE server_history SET full_on = $1 WHERE hours = 24", on)
            return await visitor.shows()

        told = await expected(soon)
        assert f"1 server with all slots taken within two weeks, at their pace: {pool.name} on about {soon}" in told
        assert f"3 databases with all storage used within two weeks, at their pace: large on about {soon}" in told
        assert "Nothing. All servers answer" not in told
        assert "full soon" not in await expected(soon + timedelta(days=12))


async def test_nobody_sees_growth_without_a_session(hub: Hub, pool: Server) -> None:
    async with hub.stranger() as stranger:
        for path in (f"pools/{pool.id}/growth", f"pools/{pool.id}/databases", "databases/large/growth"):
            assert (await stranger.get(f"/parts/{path}")).status_code == 303
