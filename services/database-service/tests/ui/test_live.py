"""Pages that are live: what they are told of the fleet, and that what they are given is not from before they were told."""

import asyncio
from contextlib import ExitStack
from typing import Any

import pytest

from database_service.domain.errors import Overloaded
from database_service.ui.live import KEEP_ALIVE_S, LATER, LONGEST_S, MOST_EACH, Fleet
from database_service.ui.parts import TOLD
from database_service.ui.rendering import STATIC
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


async def test_who_opens_too_many_streams_is_asked_to_come_again_and_others_are_not(house: House) -> None:
    fleet = Fleet()
    with ExitStack() as opened:
        for _ in range(MOST_EACH):
            opened.enter_context(fleet.watching("greedy"))
        with pytest.raises(Overloaded), fleet.watching("greedy"):
            pass
        assert [event async for event in fleet.changes(house.deps, "greedy")] == [LATER]
        with fleet.watching("modest"):
            pass
    with fleet.watching("greedy"):
        pass


async def test_a_stream_says_that_it_is_there_while_nothing_changes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database_service.ui.live.KEEP_ALIVE_S", 0.0)
    monkeypatch.setattr(Fleet, "pace_s", property(lambda _: 0.0))
    stream = Fleet().changes(house.deps, "viewer")
    async with asyncio.timeout(20):
        assert (await anext(stream)).startswith(b"event: fleet\n")
        assert (await anext(stream)).startswith(b"event: here\n")
    await stream.aclose()  # type: ignore[attr-defined]


def test_a_page_takes_no_stream_for_lost_that_is_only_quiet() -> None:
    assert "QUIET_MS = 30_000" in (STATIC / "hub.js").read_text()
    assert KEEP_ALIVE_S + LONGEST_S < 30


async def test_the_more_pages_are_open_the_less_often_each_is_told_but_often_enough() -> None:
    fleet = Fleet()
    with ExitStack() as open_pages:
        for more, pace_s in ((50, 1.0), (150, 4.0), (600, 10.0)):
            for nth in range(more):
                open_pages.enter_context(fleet.watching(f"viewer-{nth}"))
            assert fleet.pace_s == pace_s
    assert fleet.pace_s == 1.0


async def test_streams_that_begin_together_do_not_tell_together(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await never.wait()

    never, fleet, real_sleep = asyncio.Event(), Fleet(), asyncio.sleep
    monkeypatch.setattr("database_service.ui.live.asyncio.sleep", noted)
    with ExitStack() as others:
        for nth in range(200):
            others.enter_context(fleet.watching(f"viewer-{nth}"))
        streams = [asyncio.ensure_future(anext(fleet.changes(house.deps, "viewer"))) for _ in range(40)]
        while len(waits) < 40:
            await real_sleep(0)
        for each in streams:
            each.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
    assert 0 <= min(waits) < 1.5
    assert 2.5 < max(waits) <= 4.8


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
