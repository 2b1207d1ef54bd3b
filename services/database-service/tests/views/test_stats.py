"""The quick numbers are the true ones: compared with counting everything."""

from dataclasses import asdict

from database_service.actions.allocate import allocate
from database_service.actions.cordon_server import cordon
from database_service.actions.release import release
from database_service.actions.retire_server import retire
from database_service.domain.databases import Database
from database_service.domain.ids import DatabaseId, InstanceId
from database_service.reconcilers import databases
from database_service.views import servers
from database_service.views.servers import Shown
from database_service.views.stats import stats
from support.house import WHO, House, ask

_COUNTED = "FROM slots t JOIN servers s ON s.id = t.server_id WHERE s.status <> 'deprovisioning'"
SLOTS = f"SELECT count(*) {_COUNTED}"
SLOTS_TAKEN = f"SELECT count(t.database_id) {_COUNTED}"
BY_STATUS = f"""
SELECT jsonb_object_agg(status, n) FROM (
  SELECT status, count(*) AS n FROM databases
  WHERE status = 'waiting' OR id IN (SELECT t.database_id {_COUNTED}) GROUP BY status) counted"""
A_SPARE = "SELECT id FROM databases WHERE status IN ('spare', 'purged')"


async def _agree(house: House) -> None:
    seen = await stats(house.deps)
    assert seen.used == await house.value(SLOTS_TAKEN)
    assert {status: count for status, count in seen.databases.items() if count} == (await house.value(BY_STATUS) or {})
    assert seen.used + seen.free == seen.capacity == await house.value(SLOTS), asdict(seen)
    listed = {shown: (await servers.page(house.deps, status=shown)).total for shown in Shown if shown is not Shown.GONE}
    assert seen.by_status == {shown: total for shown, total in listed.items() if total}


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


async def test_a_database_that_is_still_to_be_dropped_is_not_ready(house: House) -> None:
    await house.pool(slots=1)
    await allocate(house.deps, ask("a"), WHO)
    purged = await _purged(house, "a")
    assert (await stats(house.deps)).databases == {"purged": 1, "ready": 0}
    await _agree(house)
    await databases.step(house.deps, purged.id)
    assert (await stats(house.deps)).databases == {"ready": 0}
    await _agree(house)


async def test_a_server_that_goes_is_shown_and_has_no_slots(house: House) -> None:
    going = await house.pool(slots=3)
    await house.spares(1)
    await house.pool(slots=4)
    await retire(house.deps, going.id, WHO)
    seen = await stats(house.deps)
    assert (seen.capacity, seen.used, seen.free) == (4, 0, 4)
    assert seen.databases == {"ready": 0}
    assert seen.by_status == {"active": 1, "deprovisioning": 1}
    await _agree(house)


async def test_a_slot_that_becomes_free_on_a_server_that_goes_is_not_free(house: House) -> None:
    pool = await house.pool(slots=3)
    await house.spares(1)
    await retire(house.deps, pool.id, WHO)
    await databases.step(house.deps, DatabaseId(await house.value(A_SPARE)))  # type: ignore[arg-type]
    assert await house.value("SELECT count(*) FROM slots WHERE database_id IS NULL") == 1
    assert (await stats(house.deps)).free == 0
    await _agree(house)


async def test_a_server_without_a_free_slot_is_full_as_in_lists(house: House) -> None:
    pool = await house.pool(slots=1)
    await _agree(house)
    await house.spares(1)
    seen = await stats(house.deps)
    assert seen.by_status == {"full": 1}
    assert seen.active == 0
    await _agree(house)
    await cordon(house.deps, pool.id, WHO)
    assert (await stats(house.deps)).by_status == {"maintenance": 1}
    await _agree(house)


async def _purged(house: House, instance: str) -> Database:
    """Released, and past its grace; what it has on its server is still there."""
    await release(house.deps, InstanceId(instance), WHO)
    await house.until_quiet()
    released = await house.database(instance)
    assert released.purge_after
    house.clock.forward(released.purge_after - house.clock())
    purged = await databases.step(house.deps, released.id)
    assert purged
    return purged
