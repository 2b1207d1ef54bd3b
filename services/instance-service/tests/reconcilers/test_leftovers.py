"""What no instance stands for any more: removed where a row says so, told of where none does."""

from instance_service.actions import steer
from instance_service.actions.create import create
from instance_service.domain.instances import Instance, Status
from instance_service.observability import metrics
from instance_service.reconcilers.leftovers import clear_leftovers
from instance_support.house import WHO, House, ask
from instance_support.telling import login_of


async def _running(house: House) -> Instance:
    made = await create(house.deps, ask(), WHO)
    return await house.until(made.id, Status.RUNNING)


async def test_what_an_effect_left_of_a_deleted_instance_is_removed_and_nothing_else(house: House) -> None:
    kept, gone = await _running(house), await _running(house)
    late = house.workloads.specs[gone.id]
    await steer.delete(house.deps, gone.id, WHO)
    await clear_leftovers(house.deps)
    assert gone.id in house.workloads.specs
    await house.until(gone.id, Status.DELETED)
    await house.workloads.ensure(late)
    await clear_leftovers(house.deps)
    assert set(house.workloads.specs) == {kept.id}


async def test_what_no_row_knows_is_told_of_and_left_alone(house: House) -> None:
    running = await _running(house)
    stranger = (await create(house.deps, ask(), WHO)).spec(login_of("u_1"))
    await house.workloads.ensure(stranger)
    async with house.deps.db.connection() as conn:
        await conn.execute("DELETE FROM events WHERE instance_id = $1", stranger.id)
        await conn.execute("DELETE FROM instances WHERE id = $1", stranger.id)
    await clear_leftovers(house.deps)
    assert set(house.workloads.specs) == {running.id, stranger.id}
    assert b"\ninstances_unknown_workloads 1.0\n" in metrics.render()


async def test_one_that_cannot_be_removed_does_not_keep_the_others(house: House) -> None:
    ones = [await _running(house) for _ in range(2)]
    late = [house.workloads.specs[each.id] for each in ones]
    for each in ones:
        await steer.delete(house.deps, each.id, WHO)
        await house.until(each.id, Status.DELETED)
    for spec in late:
        await house.workloads.ensure(spec)
    house.workloads.clings = ones[0].id
    await clear_leftovers(house.deps)
    assert set(house.workloads.specs) == {ones[0].id}
