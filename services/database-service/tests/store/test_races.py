"""Races, each in both orders: one transaction is held open while the other comes. One wins, nobody gets half of it."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from database_service.actions.allocate import allocate
from database_service.actions.release import release, undelete
from database_service.actions.retire_server import retire
from database_service.domain.databases import Database, Status
from database_service.domain.errors import DatabaseGone, ServerNotEmpty, SlotsInUse
from database_service.domain.ids import DatabaseId, InstanceId, ServerId
from database_service.domain.plans import Tier
from database_service.domain.servers import Server
from database_service.domain.servers import Status as ServerStatus
from database_service.reconcilers import slotting
from database_service.reconcilers.retiring import retire_in
from database_service.store import databases, servers, slots
from database_service.store.pool import Conn
from store.conftest import Two
from support.house import WHO, House, ask

LEASE = timedelta(minutes=1)
A, B = InstanceId("a"), InstanceId("b")


async def claim(two: Two, conn: Conn, instance: InstanceId) -> databases.Seated | None:
    return await databases.claim_spare(conn, databases.Claim(ask(instance), WHO, two.house.clock()))


# -- spares -----------------------------------------------------------------------------------------------------------


async def test_the_last_spare_goes_to_one_and_nobody_waits_for_the_other(house: House, two: Two) -> None:
    await house.pool()
    await house.spares(1)
    assert await claim(two, two.first.conn, A)
    assert await claim(two, two.second, B) is None
    await two.first.commit()
    assert await claim(two, two.second, B) is None


async def test_a_spare_whose_claim_was_given_up_is_there_for_the_next(house: House, two: Two) -> None:
    await house.pool()
    await house.spares(1)
    given_up = await claim(two, two.first.conn, A)
    await two.first.give_up()
    claimed = await claim(two, two.second, B)
    assert given_up
    assert claimed
    assert claimed.database.id == given_up.database.id


async def test_two_spares_at_once_for_one_instance_are_one(house: House, two: Two) -> None:
    await house.pool()
    await house.spares(2)
    assert await claim(two, two.first.conn, A)
    waiting = await two.until_waits(claim(two, two.second, A))
    await two.first.commit()
    with pytest.raises(databases.AlreadyThere):
        await waiting
    assert await house.value("SELECT count(*) FROM databases WHERE status = 'spare'") == 1


async def test_the_second_ask_for_an_instance_gets_a_spare_when_the_first_was_given_up(house: House, two: Two) -> None:
    await house.pool()
    await house.spares(2)
    await claim(two, two.first.conn, A)
    waiting = await two.until_waits(claim(two, two.second, A))
    await two.first.give_up()
    assert await waiting


async def test_a_waiting_row_that_somebody_holds_is_passed_by_and_its_spare_goes_to_the_next(
    house: House, two: Two
) -> None:
    for instance in (A, B):
        await allocate(house.deps, ask(instance), WHO)
    await house.pool()
    await house.spares(1)
    await databases.lock_of_instance(two.first.conn, A)
    assert await databases.hand_spares_to_waiting(two.second, "default", WHO, house.clock(), 10) == 1
    await two.first.commit()
    assert (await house.database(A)).status is Status.WAITING
    assert (await house.database(B)).status is Status.READY
    assert await databases.hand_spares_to_waiting(two.second, "default", WHO, house.clock(), 10) == 0


# -- slots ------------------------------------------------------------------------------------------------------------


async def test_the_last_slot_goes_to_one(house: House, two: Two) -> None:
    await house.pool(slots=1)
    row = await _row_without_seat(house)
    assert await slots.reserve(two.first.conn, row)
    assert await slots.reserve(two.second, row) is None
    await two.first.give_up()
    assert await slots.reserve(two.second, row)


async def _row_without_seat(house: House) -> DatabaseId:
    """A slot names a row that is there; this one wants a server of its own, so nothing else seats it."""
    async with house.deps.db.connection() as conn:
        row = await databases.insert(
            conn, database_id=DatabaseId(uuid4()), status="waiting", now=house.clock(), ask=ask(), tier=Tier.FREE,
            template="default", server_id=None, rank=None, name="x", owner_role="x_owner",
        )  # fmt: skip
    return row.id


async def test_one_decision_about_capacity_at_a_time(two: Two) -> None:
    assert await slots.lock_capacity(two.first.conn)
    async with two.second.transaction():
        assert not await slots.lock_capacity(two.second)
    await two.first.commit()
    async with two.second.transaction():
        assert await slots.lock_capacity(two.second)


async def _taken_by_first(house: House, two: Two) -> None:
    """A slot, with the row that has it, in a transaction that is not over."""
    database_id = DatabaseId(uuid4())
    seat = await slots.reserve(two.first.conn, database_id)
    assert seat
    await databases.insert(
        two.first.conn, database_id=database_id, status="creating", now=house.clock(), ask=ask(), tier=Tier.FREE,
        template="default", server_id=seat.server_id, rank=seat.rank, name="y", owner_role="y_owner",
    )  # fmt: skip


async def _cleared(two: Two, pool: Server, wanted: int) -> None:
    async with two.second.transaction():
        await slotting.clear(two.second, pool, wanted)


async def test_room_that_is_just_being_taken_is_not_taken_away(house: House, two: Two) -> None:
    pool = await house.pool(slots=3)
    await _taken_by_first(house, two)
    waiting = await two.until_waits(_cleared(two, pool, 1))
    await two.first.commit()
    await waiting
    assert await house.value("SELECT count(*) = 1 AND count(database_id) = 1 FROM slots") is True


async def test_a_server_whose_last_slot_is_just_being_taken_keeps_it(house: House, two: Two) -> None:
    pool = await house.pool(slots=2)
    await _taken_by_first(house, two)
    async with house.deps.db.connection() as conn:
        assert await slots.reserve(conn, (await _row_without_seat(house)))
    waiting = await two.until_waits(_cleared(two, pool, 1))
    await two.first.commit()
    with pytest.raises(SlotsInUse, match="has 2 slots in use"):
        await waiting
    assert await house.value("SELECT count(*) FROM slots") == 2


async def test_room_that_is_just_being_taken_away_goes_to_nobody_and_nobody_waits_for_it(
    house: House, two: Two
) -> None:
    pool = await house.pool(slots=3)
    row = await _row_without_seat(house)
    await slotting.clear(two.first.conn, pool, 1)
    assert await slots.reserve(two.second, row) is None
    await two.first.commit()
    assert await slots.reserve(two.second, row)
    assert await slots.reserve(two.second, row) is None


async def test_room_comes_and_goes_from_the_top_and_keeps_its_ranks(house: House) -> None:
    pool = await house.pool(slots=4)
    rows = "SELECT array_agg(format('%s@%s', ordinal, rank) ORDER BY ordinal) FROM slots"
    before = await house.value(rows)
    async with house.deps.db.transaction() as conn:
        await slotting.clear(conn, pool, 2)
    assert await house.value("SELECT array_agg(ordinal ORDER BY ordinal) FROM slots") == [1, 2]
    async with house.deps.db.transaction() as conn:
        await slotting.furnish(conn, house.deps, pool)
    assert await house.value(rows) == before


# -- the end of a server ----------------------------------------------------------------------------------------------


async def test_a_server_whose_spare_is_just_being_claimed_is_not_retired(house: House, two: Two) -> None:
    pool = await house.pool()
    await house.spares(1)
    assert await claim(two, two.first.conn, A)
    waiting = await two.until_waits(_retired(two, pool.id))
    await two.first.commit()
    with pytest.raises(ServerNotEmpty):
        await waiting
    assert (await house.server(pool.id)).status is ServerStatus.ACTIVE
    assert await house.value("SELECT count(*) FROM slots WHERE server_id = $1", pool.id) == pool.max_instances


async def test_a_server_whose_slot_is_just_being_reserved_is_not_retired(house: House, two: Two) -> None:
    pool = await house.pool(slots=1)
    database_id = DatabaseId(uuid4())
    seat = await slots.reserve(two.first.conn, database_id)
    assert seat
    await databases.insert(
        two.first.conn, database_id=database_id, status="creating", now=house.clock(), ask=ask(A), tier=Tier.FREE,
        template="default", server_id=seat.server_id, rank=seat.rank, name="x", owner_role="x_owner",
    )  # fmt: skip
    waiting = await two.until_waits(_retired(two, pool.id))
    await two.first.commit()
    with pytest.raises(ServerNotEmpty):
        await waiting


async def test_a_server_that_is_just_being_retired_gives_neither_spare_nor_slot(house: House, two: Two) -> None:
    pool = await house.pool()
    await house.spares(1)
    await _retire_on(two, two.first.conn, pool.id)
    row = await _row_without_seat(house)
    for _ in range(2):
        assert await claim(two, two.second, A) is None
        assert await slots.reserve(two.second, row) is None
        if two.first.conn.is_in_transaction():
            await two.first.commit()


async def test_a_server_whose_end_was_given_up_serves_on(house: House, two: Two) -> None:
    pool = await house.pool()
    await house.spares(1)
    await _retire_on(two, two.first.conn, pool.id)
    await two.first.give_up()
    assert await claim(two, two.second, A)
    with pytest.raises(ServerNotEmpty):
        await retire(house.deps, pool.id, WHO)


async def _retired(two: Two, server_id: ServerId) -> None:
    async with two.second.transaction():
        await _retire_on(two, two.second, server_id)


async def _retire_on(two: Two, conn: Conn, server_id: ServerId) -> None:
    server = await servers.lock(conn, server_id)
    assert server
    await retire_in(conn, two.house.deps, server, WHO, why=None)


# -- leases and versions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_commits", [True, False])
async def test_a_lease_is_one_s(house: House, two: Two, first_commits: bool) -> None:
    pool = await house.pool()
    await house.value("UPDATE servers SET due_at = $1", house.clock())
    house.clock.forward(timedelta(seconds=1))
    now = house.clock()
    assert await servers.claim(two.first.conn, pool.id, now, LEASE, uuid4())
    waiting = await two.until_waits(servers.claim(two.second, pool.id, now, LEASE, uuid4()))
    await (two.first.commit() if first_commits else two.first.give_up())
    assert (await waiting is None) == first_commits


async def test_a_server_s_result_that_comes_after_a_change_counts_for_nothing(house: House, two: Two) -> None:
    seen = await house.pool()
    await servers.set_cordon(two.first.conn, seen.id, cordoned=True, reason="a disk", now=house.clock())
    waiting = await two.until_waits(servers.save(two.second, seen, house.clock()))
    await two.first.commit()
    assert await waiting is None
    assert (await house.server(seen.id)).cordoned


# -- undelete and purge, at the end of the grace ----------------------------------------------------------------------


async def test_an_undelete_while_the_purge_is_being_written_finds_the_database_gone(house: House, two: Two) -> None:
    seen = await _released_and_leased(house)
    assert await databases.save(two.first.conn, replace(seen, status=Status.PURGED))
    waiting = await two.until_waits(undelete(house.deps, A, WHO))
    await two.first.commit()
    with pytest.raises(DatabaseGone):
        await waiting


async def test_a_purge_that_comes_while_an_undelete_is_being_written_takes_a_look_and_leaves_it(
    house: House, two: Two
) -> None:
    """Either the lease or the fence stops it: here it has no lease yet."""
    await _past_its_grace(house)
    locked = await databases.lock_of_instance(two.first.conn, A)
    assert locked
    now = house.clock()
    await databases.want(
        two.first.conn, replace(locked, status=Status.CREATING, purge_after=None, released_at=None, due_at=now)
    )
    waiting = await two.until_waits(databases.claim(two.second, locked.id, now, LEASE, uuid4()))
    await two.first.commit()
    claimed = await waiting
    assert claimed
    assert claimed.status is Status.CREATING


async def test_a_purge_that_had_its_lease_before_the_undelete_is_refused(house: House, two: Two) -> None:
    seen = await _released_and_leased(house)
    back = replace(seen, status=Status.CREATING, purge_after=None, released_at=None)
    await databases.want(two.first.conn, back)
    waiting = await two.until_waits(databases.save(two.second, replace(seen, status=Status.PURGED)))
    await two.first.commit()
    assert await waiting is None
    assert (await house.database(A)).status is Status.CREATING


async def _past_its_grace(house: House) -> Database:
    await house.pool()
    await allocate(house.deps, ask(A), WHO)
    await release(house.deps, A, WHO)
    house.clock.forward(timedelta(days=365))
    database = await house.database(A)
    assert database.status is Status.RELEASED
    return database


async def _released_and_leased(house: House) -> Database:
    """Past its grace, and somebody is at work on it."""
    database = await _past_its_grace(house)
    async with house.deps.db.connection() as conn:
        leased = await databases.claim(conn, database.id, house.clock(), LEASE, uuid4())
    assert leased
    return leased
