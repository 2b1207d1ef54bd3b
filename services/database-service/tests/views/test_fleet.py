"""What the hub's map says of servers is what their rows say."""

from database_service.actions.cordon_server import cordon
from database_service.domain.ids import ServerId
from database_service.views.fleet import Looks, looks
from support.house import WHO, House


async def _set(house: House, server_id: ServerId, **columns: str) -> None:
    async with house.deps.db.transaction() as conn:
        for name, value in columns.items():
            await conn.execute(f"UPDATE servers SET {name} = $2, due_at = now() WHERE id = $1", server_id, value)


async def test_a_fleet_of_nobody_is_no_text(house: House) -> None:
    assert await looks(house.deps, 10) == Looks(0, "")


async def test_each_server_is_told_with_the_slots_that_are_in_use_and_gaps_with_a_number(house: House) -> None:
    first, second, third = [await house.pool(slots=slots) for slots in (3, 2, 4)]
    await house.spares(1)
    seen = await looks(house.deps, 10)
    used = [
        await house.value("SELECT count(database_id) FROM slots WHERE server_id = $1", each.id)
        for each in (first, second, third)
    ]
    assert seen == Looks(3, f"@{first.seq} h3/{used[0]} h2/{used[1]} h4/{used[2]}")
    await _set(house, second.id, status="gone")
    assert (await looks(house.deps, 10)).text == f"@{first.seq} h3/{used[0]} @{third.seq} h4/{used[2]}"
    assert (await looks(house.deps, 1)).servers == 1


async def test_the_worst_of_a_server_is_its_letter(house: House) -> None:
    pools = [await house.pool(slots=1) for _ in range(8)]
    for pool, columns in zip(
        pools,
        (
            {"health_status": "unhealthy"},
            {},
            {"health_status": "degraded"},
            {"health_status": "unknown"},
            {"status": "initializing", "health_status": "unknown"},
            {"status": "error", "health_status": "unhealthy"},
            {"status": "deprovisioning"},
            {"health_status": "healthy"},
        ),
        strict=True,
    ):
        await _set(house, pool.id, **columns)
    for cordoned in pools[:2]:
        await cordon(house.deps, cordoned.id, WHO, None)
    assert [word[0] for word in (await looks(house.deps, 10)).text.split()[1:]] == list("ucdnselh")
