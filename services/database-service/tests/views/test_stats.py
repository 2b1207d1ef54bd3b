"""The quick numbers are the true ones: compared with counting everything."""

from dataclasses import asdict

from database_service.actions.allocate import allocate
from database_service.actions.release import release
from database_service.domain.ids import InstanceId
from database_service.views.stats import stats
from support.house import WHO, House, ask

SLOTS_TAKEN = "SELECT count(*) FROM slots WHERE database_id IS NOT NULL"
BY_STATUS = """
SELECT jsonb_object_agg(status, n)
FROM (SELECT status, count(*) AS n FROM databases WHERE status <> 'purged' GROUP BY status) s"""


async def _agree(house: House) -> None:
    seen = await stats(house.deps)
    assert seen.used == await house.value(SLOTS_TAKEN)
    assert {status: count for status, count in seen.databases.items() if count} == (await house.value(BY_STATUS) or {})
    assert seen.used + seen.free == seen.capacity == await house.value("SELECT count(*) FROM slots"), asdict(seen)


async def test_numbers_stay_true_through_a_database_s_whole_life(house: House) -> None:
    await _agree(house)
    await allocate(house.deps, ask("waits"), WHO)
    await _agree(house)
    await house.pool(slots=4)
    await house.until_quiet()
    await house.spares(2)
    await _agree(house)
    await allocate(house.deps, ask("a"), WHO)
    await _agree(house)
    await release(house.deps, InstanceId("a"), WHO)
    await _agree(house)
    await house.until_quiet()
    await _agree(house)
    purge_after = (await house.database("a")).purge_after
    assert purge_after
    await house.later(purge_after - house.clock())
    await _agree(house)
