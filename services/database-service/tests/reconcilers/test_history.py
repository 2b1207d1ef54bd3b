"""What samples found is remembered once for each hour and day, whoever dies or doubles, and not for ever."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from database_service.actions.allocate import allocate
from database_service.actions.move_databases import move
from database_service.actions.release import release
from database_service.domain.growth import Stretch
from database_service.domain.ids import InstanceId
from database_service.domain.plans import PLANS, Tier
from database_service.reconcilers import history
from database_service.reconcilers.history import forget_history
from database_service.reconcilers.usage import sample_usage
from database_service.views.history import full_soon, of_database, of_server
from support.cluster import Cluster
from support.faults import Fate, Killed
from support.house import WHO, House, ask, open_house
from support.two_pools import Two

A = InstanceId("a")
NOON = datetime(2026, 11, 22, 12, 0, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
async def used(house: House) -> House:
    """A pool of three slots with instance `a`; it is noon."""
    house.clock.forward(NOON - house.clock())
    await house.pool(slots=3)
    await allocate(house.deps, ask(A), WHO)
    return house


async def looked(house: House, after: timedelta = MINUTE) -> None:
    house.clock.forward(after)
    await sample_usage(house.deps)


async def stretches(house: House) -> list[tuple[int, int]]:
    """Hours of each stretch, and how many there are."""
    async with house.deps.db.connection() as conn:
        rows = await conn.fetch("SELECT hours, count(*) AS n FROM server_history GROUP BY hours ORDER BY hours")
    return [(row["hours"], row["n"]) for row in rows]


async def sizes(house: House) -> list[float | None]:
    found = await house.value("SELECT sizes FROM database_history")
    assert isinstance(found, list)
    return found


async def test_many_looks_within_an_hour_are_one_stretch_with_the_last_and_the_most(used: House) -> None:
    await looked(used)
    await used.value("UPDATE server_history SET connections = 7")
    await allocate(used.deps, ask("b"), WHO)
    await looked(used)
    assert await stretches(used) == [(1, 1), (24, 1)]
    server_id = (await used.database(A)).server_id
    assert server_id
    [found] = (await of_server(used.deps, server_id, Stretch.HOUR)).stretches
    assert (found.databases, found.slots, found.connections) == (2, 2, 7)
    assert found.size_bytes > 2 * 7_000_000
    assert found.at == NOON.replace(second=0)
    await looked(used, HOUR)
    assert await stretches(used) == [(1, 2), (24, 1)]
    assert [each.connections for each in (await of_server(used.deps, server_id, Stretch.HOUR)).stretches] == [7, 0]


async def test_a_look_that_finds_nothing_new_writes_nothing(used: House) -> None:
    await looked(used)
    before = await used.value("SELECT array_agg(xmin::text || ctid::text ORDER BY hours) FROM server_history")
    await looked(used)
    assert before == await used.value("SELECT array_agg(xmin::text || ctid::text ORDER BY hours) FROM server_history")


async def test_an_empty_server_has_a_history_too(house: House) -> None:
    pool = await house.pool()
    await looked(house)
    [found] = (await of_server(house.deps, pool.id, Stretch.DAY)).stretches
    assert (found.databases, found.slots, found.size_bytes) == (0, 0, 0)


async def test_a_database_has_one_size_a_day_and_no_more_days_than_are_kept(used: House) -> None:
    kept = used.with_policy(history_keep=timedelta(days=14))
    for _ in range(3):
        await looked(kept, HOUR)
    assert len(await sizes(kept)) == 1
    await looked(kept, 2 * DAY)
    [first, missed, last] = await sizes(kept)
    assert (missed, first == last) == (None, True)
    for _ in range(20):
        await looked(kept, DAY)
    assert len(await sizes(kept)) == 14


async def test_two_who_look_at_once_write_each_stretch_and_each_day_once(used: House) -> None:
    for _ in range(3):
        used.clock.forward(DAY)
        await asyncio.gather(*(sample_usage(used.deps) for _ in range(4)))
    assert await stretches(used) == [(1, 3), (24, 3)]
    assert len(await sizes(used)) == 3


async def test_whoever_dies_while_looking_leaves_no_half_and_no_double(
    used: House, control_dsn: str, tenant_cluster: Cluster
) -> None:
    await looked(used)
    used.clock.forward(DAY)
    before, after = (1, [(1, 1), (24, 1)], 1), (2, [(1, 2), (24, 2)], 2)
    for death, left in enumerate((before, after), start=1):
        async with open_house(control_dsn, tenant_cluster, clock=used.clock, fate=Fate(death)) as mortal:
            with pytest.raises(BaseExceptionGroup) as died:
                await sample_usage(mortal.deps)
        assert died.group_contains(Killed)
        assert await remembered(used) == left
    fate = Fate()
    async with open_house(control_dsn, tenant_cluster, clock=used.clock, fate=fate) as living:
        await sample_usage(living.deps)
    assert (fate.seen, await remembered(used)) == (2, after), "one commit, and so two deaths"


async def remembered(house: House) -> tuple[int, list[tuple[int, int]], object]:
    """Days of the database, stretches of the server, and on which day since the first the sample itself was."""
    sampled = await house.value("SELECT 1 + (sampled_at AT TIME ZONE 'UTC')::date - $1::date FROM usage", NOON.date())
    return len(await sizes(house)), await stretches(house), sampled


async def test_a_database_that_grew_for_a_week_is_told_of_before_its_storage_is_used_up(
    used: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await allocate(used.deps, ask("grows"), WHO)
    await looked(used)
    one = await used.database("grows")
    size = await used.value("SELECT size_bytes FROM usage WHERE database_id = $1", one.id)
    assert isinstance(size, int)
    monkeypatch.setitem(PLANS, Tier.FREE, replace(PLANS[Tier.FREE], storage_bytes=size + 500_000))
    await used.value(
        "UPDATE database_history SET sizes = ARRAY(SELECT $2 - g * 100000 FROM generate_series(8, 1, -1) g)::real[] "
        "WHERE database_id = $1",
        one.id,
        size,
    )
    assert (await full_soon(used.deps)).first == (), "nobody has reckoned yet"
    await looked(used, DAY)
    soon = await full_soon(used.deps)
    assert [(each.name, (each.full_on - used.clock().date()).days) for each in soon.first] == [("grows", 5)]
    assert (await of_database(used.deps, InstanceId("grows"))).full_on == soon.first[0].full_on
    assert (await of_database(used.deps, A)).full_on is None
    assert soon.counts == {"server": 0, "database": 1}


async def test_a_server_whose_slots_go_day_by_day_is_told_of_until_it_has_more(used: House) -> None:
    server = await used.pool(slots=14)
    await used.value("UPDATE servers SET cordoned = true WHERE id <> $1", server.id)
    for n in range(9):
        await allocate(used.deps, ask(f"day-{n}"), WHO)
        await looked(used, DAY)
    soon = await full_soon(used.deps)
    assert [(each.id, (each.full_on - used.clock().date()).days) for each in soon.first] == [(str(server.id), 5)]
    assert (await of_server(used.deps, server.id, Stretch.DAY)).full_on == soon.first[0].full_on
    await used.value("UPDATE servers SET max_instances = 1000 WHERE id = $1", server.id)
    assert (await of_server(used.deps, server.id, Stretch.DAY)).full_on is None
    await looked(used, HOUR)
    assert (await full_soon(used.deps)).first == ()


async def test_what_is_old_is_forgotten_in_batches(used: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_FORGOTTEN_AT_ONCE", 100)
    await looked(used)
    await used.value(
        "INSERT INTO server_history SELECT server_id, at - g * hours * interval '1 hour', 1, 1, 1, 1, hours "
        "FROM server_history, generate_series(1, 500) g"
    )
    assert await forget_history(used.deps) == 1002 - 14 * 24 - 90
    assert await forget_history(used.deps) == 0
    assert await stretches(used) == [(1, 14 * 24), (24, 90)]


async def test_a_database_that_is_purged_leaves_no_history(used: House) -> None:
    await looked(used)
    await release(used.deps, A, WHO)
    await used.later(timedelta(days=40))
    assert await used.value("SELECT count(*) FROM database_history") == 0


async def test_a_move_keeps_what_a_database_was(two: Two) -> None:
    house = two.house
    await looked(house)
    await house.finished((await move(house.deps, A, None, WHO)).id)
    await looked(house, DAY)
    assert len(await sizes(house)) == 2
