"""Pages that are live: what they are told of the fleet, and that what they are given is not from before they were told."""

import asyncio
from typing import Any

import pytest

from database_service.ui.live import Fleet
from database_service.ui.parts import TOLD
from database_service.views import fleet as fleet_view
from support.house import House
from support.hub import Hub, Visit, open_hub


@pytest.fixture
def nothing_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks."""
    monkeypatch.setattr(Fleet, "pace_s", property(lambda _: 3600.0))


async def test_a_part_is_made_once_for_all_who_were_told_the_same_and_anew_for_who_was_told_of_a_change(
    hub: Hub, house: House, monkeypatch: pytest.MonkeyPatch, nothing_grows_old: None
) -> None:
    made, looks = 0, fleet_view.looks

    async def counted(*arguments: Any) -> Any:
        nonlocal made
        made += 1
        return await looks(*arguments)

    monkeypatch.setattr("database_service.ui.pages.pools.fleet.looks", counted)
    pool = await house.pool()
    async with hub.visit() as one, hub.visit() as other:
        told = await fleet_view.fingerprint(house.deps)
        first, same = await asyncio.gather(map_of(one, told), map_of(other, told))
        assert first == same == await map_of(one, told)
        assert "As of" in first
        assert made == 1
        await fall_ill(house, pool.id)
        assert f"u{pool.max_instances}/0" in await map_of(other, await fleet_view.fingerprint(house.deps))
        assert made == 2


async def test_who_is_told_by_one_process_is_not_given_what_another_made_before(
    hub: Hub, house: House, nothing_grows_old: None
) -> None:
    pool = await house.pool()
    async with open_hub(house) as other, hub.visit() as here, other.visit() as there:
        before = await told_by(hub, house)
        assert f"u{pool.max_instances}/0" not in await map_of(there, before)
        await fall_ill(house, pool.id)
        told = await Fleet().now(house.deps)
        assert told != before
        assert f"u{pool.max_instances}/0" in await map_of(there, told)
        assert f"u{pool.max_instances}/0" in await map_of(here, told)


async def map_of(visit: Visit, told: str) -> str:
    """As a page asks for it that was told this."""
    answer = await visit.get("/parts/map", headers={TOLD: told})
    assert answer.status_code == 200
    return answer.text


async def told_by(hub: Hub, house: House) -> str:
    fleet: Fleet = hub.web.app.state.hub_fleet
    return await fleet.now(house.deps)


async def fall_ill(house: House, pool: object) -> None:
    async with house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET health_status = 'unhealthy', version = version + 1 WHERE id = $1", pool)
