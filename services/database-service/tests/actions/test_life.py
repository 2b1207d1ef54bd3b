"""What happens to a database after it was handed out: rotate, release, undelete, purge, protect."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from database_service.actions import rotate as rotating
from database_service.actions.allocate import allocate
from database_service.actions.credentials import credentials
from database_service.actions.release import protect, release, undelete
from database_service.actions.rotate import rotate
from database_service.deps import Deps
from database_service.domain.answers import Allocation, Pending
from database_service.domain.databases import Status
from database_service.domain.errors import (
    DatabaseGone,
    DatabaseNotFound,
    DatabaseNotReady,
    DatabaseNotReleased,
    DatabaseProtected,
    DatabaseReleased,
    TooManyLogins,
)
from database_service.domain.ids import InstanceId
from database_service.reconcilers.databases import step
from database_service.reconcilers.leasing import give_back, new_token
from database_service.store import databases
from support.house import WHO, House, ask, login

A = InstanceId("a")


@pytest.fixture
async def given(house: House) -> Allocation:
    """Instance `a` with a database that holds a row."""
    await house.pool()
    answer = await allocate(house.deps, ask(A), WHO)
    assert isinstance(answer, Allocation)
    conn = await login(answer)
    await conn.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)")
    await conn.close()
    return answer


async def _kept(answer: object) -> int:
    conn = await login(answer)  # type: ignore[arg-type]
    n: int = await conn.fetchval("SELECT n FROM kept")
    await conn.close()
    return n


async def _refused(answer: Allocation) -> bool:
    try:
        await (await login(answer)).close()
    except asyncpg.InvalidAuthorizationSpecificationError:
        return True
    return False


# -- rotate -----------------------------------------------------------------------------------------------------------


async def test_after_a_rotation_both_logins_work_until_the_old_one_expires(house: House, given: Allocation) -> None:
    new = await rotate(house.deps, A, WHO, overlap=timedelta(minutes=10))
    assert isinstance(new, Allocation)
    assert new.login.role != given.login.role
    assert await _kept(new) == await _kept(given) == 42
    await house.later(timedelta(minutes=11))
    assert await _refused(given)
    assert await _kept(new) == 42


async def test_what_the_old_login_made_belongs_to_the_owner_and_stays(house: House, given: Allocation) -> None:
    conn = await login(given)
    await conn.execute("RESET ROLE")
    await conn.execute("SET ROLE NONE")
    await conn.close()
    new = await rotate(house.deps, A, WHO, overlap=timedelta())
    await house.later(timedelta(seconds=1))
    assert await _refused(given)
    conn = await login(new)
    await conn.execute("ALTER TABLE kept ADD COLUMN more int")
    await conn.close()


async def test_the_same_rotation_asked_twice_makes_one_login(house: House, given: Allocation) -> None:
    first = await rotate(house.deps, A, WHO, request_key="k")
    again = await rotate(house.deps, A, WHO, request_key="k")
    assert isinstance(first, Allocation)
    assert isinstance(again, Allocation)
    assert (first.login.role, first.password) == (again.login.role, again.password)
    assert len(await house.logins(A)) == 2


async def test_a_rotation_counts_also_by_a_clock_that_is_behind_that_of_the_login_before(
    house: House, given: Allocation
) -> None:
    house.clock.forward(-timedelta(minutes=5))
    new = await rotate(house.deps, A, WHO, overlap=timedelta())
    assert isinstance(new, Allocation)
    assert new.login.role != given.login.role
    assert (await credentials(house.deps, A, WHO)).login.role == new.login.role
    await house.later(timedelta(minutes=6))
    assert await _refused(given)
    assert await _kept(new) == 42


async def test_live_logins_are_limited(house: House, given: Allocation) -> None:
    for _ in range(house.deps.policy.most_logins - 1):
        await rotate(house.deps, A, WHO)
    with pytest.raises(TooManyLogins):
        await rotate(house.deps, A, WHO)


async def test_a_login_that_is_made_while_the_answer_is_put_together_is_answered_or_waited_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever repeats a rotation is never answered with the login that ends with it."""
    await house.pool()
    old = await allocate(house.deps, ask(A), WHO)
    assert isinstance(old, Allocation)
    real = rotating.current_answer

    async def time_ends(*_: object) -> bool:
        """The worker goes on."""
        return True

    async def made_meanwhile(deps: Deps, instance_id: InstanceId) -> Allocation | Pending:
        answer = await real(deps, instance_id)
        await step(deps, old.database.id)
        return answer

    monkeypatch.setattr(rotating.database_steps, "step_now", time_ends)
    monkeypatch.setattr(rotating, "current_answer", made_meanwhile)
    answer = await rotate(house.deps, A, WHO, overlap=timedelta(), request_key="k")
    assert isinstance(answer, Pending) or answer.login.role != old.login.role
    monkeypatch.undo()
    again = await rotate(house.deps, A, WHO, overlap=timedelta(), request_key="k")
    assert isinstance(again, Allocation)
    assert again.login.role != old.login.role


async def test_a_rotation_waits_for_who_is_just_at_the_database(house: House, given: Allocation) -> None:
    now, token = house.clock(), new_token()
    async with house.deps.db.connection() as conn:
        await databases.look_now(conn, given.database.id, now)
        assert await databases.claim(conn, given.database.id, now, house.deps.policy.lease, token)
    rotating_now = asyncio.create_task(rotate(house.deps, A, WHO, overlap=timedelta()))
    async with asyncio.timeout(10):
        while len(await house.logins(A)) < 2:  # noqa: ASYNC110  nothing tells us
            await asyncio.sleep(0)
    assert not rotating_now.done()
    await give_back(house.deps, "databases", given.database.id, token)
    await step(house.deps, given.database.id)
    answer = await rotating_now
    assert isinstance(answer, Allocation)
    assert answer.login.role != given.login.role


async def test_only_a_ready_database_can_be_rotated(house: House) -> None:
    with pytest.raises(DatabaseNotFound):
        await rotate(house.deps, A, WHO)
    await allocate(house.deps, ask(A), WHO)
    with pytest.raises(DatabaseNotReady):
        await rotate(house.deps, A, WHO)


# -- credentials ------------------------------------------------------------------------------------------------------


async def test_reading_credentials_is_audited(house: House, given: Allocation) -> None:
    answer = await credentials(house.deps, A, WHO)
    assert answer.password == given.password
    assert await house.value("SELECT actor FROM events WHERE action = 'database.credentials_read'") == WHO.actor


# -- release and undelete ---------------------------------------------------------------------------------------------


async def test_release_shuts_the_door_and_ends_sessions_but_keeps_the_data(house: House, given: Allocation) -> None:
    inside = await login(given)
    database = await release(house.deps, A, WHO)
    assert database.status is Status.RELEASED
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await inside.fetchval("SELECT 1")
    assert await _refused(given)
    back = await undelete(house.deps, A, WHO)
    assert isinstance(back, Allocation)
    assert back.password == given.password
    assert await _kept(back) == 42


async def test_release_may_be_asked_again(house: House, given: Allocation) -> None:
    first = await release(house.deps, A, WHO)
    second = await release(house.deps, A, WHO)
    assert first.purge_after == second.purge_after


async def test_a_released_database_is_not_allocated_again_by_accident(house: House, given: Allocation) -> None:
    await release(house.deps, A, WHO)
    with pytest.raises(DatabaseReleased):
        await allocate(house.deps, ask(A), WHO)


async def test_after_its_grace_it_is_purged_and_its_slot_is_free(house: House, given: Allocation) -> None:
    await release(house.deps, A, WHO)
    await house.later(timedelta(days=2, hours=23))
    assert (await house.database(A)).status is Status.RELEASED
    await house.later(timedelta(hours=2))
    assert (await house.database(A)).status is Status.PURGED
    assert await house.value("SELECT count(*) FROM slots WHERE database_id IS NOT NULL") == 0
    for verb in (undelete, credentials):
        with pytest.raises(DatabaseGone):
            await verb(house.deps, A, WHO)
    with pytest.raises(DatabaseGone):
        await allocate(house.deps, ask(A), WHO)


async def test_only_a_released_one_can_be_undeleted(house: House, given: Allocation) -> None:
    with pytest.raises(DatabaseNotReleased):
        await undelete(house.deps, A, WHO)


async def test_a_database_that_still_waits_can_be_released(house: House) -> None:
    await allocate(house.deps, ask(A), WHO)
    database = await release(house.deps, A, WHO)
    assert database.status is Status.PURGED
    await house.pool()
    await house.until_quiet()
    taken = "SELECT count(*) FROM slots t JOIN databases d ON d.id = t.database_id WHERE d.instance_id IS NOT NULL"
    assert await house.value(taken) == 0


async def test_undelete_never_makes_an_empty_database_where_data_is_missing(house: House, given: Allocation) -> None:
    await release(house.deps, A, WHO)
    conn = await asyncpg.connect(house.tenant.dsn())
    await conn.execute(f'DROP DATABASE "{given.database.name}" WITH (FORCE)')
    await conn.close()
    await undelete(house.deps, A, WHO)
    await house.until_quiet()
    database = await house.database(A)
    assert database.status is Status.CREATING
    assert given.database.name in (database.last_error or "")


# -- protection -------------------------------------------------------------------------------------------------------


async def test_protection_wins_over_release(house: House, given: Allocation) -> None:
    await protect(house.deps, A, True, WHO)
    with pytest.raises(DatabaseProtected):
        await release(house.deps, A, WHO)
    await protect(house.deps, A, False, WHO)
    assert (await release(house.deps, A, WHO)).status is Status.RELEASED


async def test_protection_wins_over_the_purge_of_what_is_released(house: House, given: Allocation) -> None:
    await release(house.deps, A, WHO)
    await protect(house.deps, A, True, WHO)
    await house.later(timedelta(days=400))
    assert (await house.database(A)).status is Status.RELEASED
    assert await _kept(await undelete(house.deps, A, WHO)) == 42


async def test_a_rotation_without_overlap_ends_every_login_before_it(house: House, given: Allocation) -> None:
    between = await rotate(house.deps, A, WHO, overlap=timedelta(days=1))
    newest = await rotate(house.deps, A, WHO, overlap=timedelta())
    await house.later(timedelta(seconds=1))
    assert isinstance(between, Allocation)
    assert await _refused(given)
    assert await _refused(between)
    assert await _kept(newest) == 42
