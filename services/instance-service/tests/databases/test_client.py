"""What database-service answers, as the reconcilers understand it; over the client and its own stand-in for the service."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from database_service_client import AsyncDatabaseService, Retries
from database_service_client.testing import FakeDatabaseService
from instance_service.databases.client import DatabaseServiceDatabases
from instance_service.domain.databases import State
from instance_service.domain.errors import DatabaseRefused, DatabasesUnavailable
from instance_service.domain.ids import CustomerId
from instance_service.domain.plans import Tier

C = CustomerId("c-1")
HOUR = timedelta(hours=1)
NO_PATIENCE = Retries(most=0)


@pytest.fixture
def service() -> FakeDatabaseService:
    return FakeDatabaseService()


@pytest.fixture
async def client(service: FakeDatabaseService) -> AsyncIterator[AsyncDatabaseService]:
    async with service.async_client(retries=NO_PATIENCE) as opened:
        yield opened


@pytest.fixture
def databases(client: AsyncDatabaseService) -> DatabaseServiceDatabases:
    return DatabaseServiceDatabases(client)


async def test_with_room_a_database_is_ready_at_once_and_looking_finds_the_same_login(
    databases: DatabaseServiceDatabases,
) -> None:
    made = await databases.allocate("i-1", C, Tier.FREE)
    seen = await databases.look("i-1")
    login = await databases.login("i-1")
    assert made.state is seen.state is State.READY
    assert made.login
    assert seen.login
    assert made.login.version == seen.login.version == login.version
    assert len(login.password.reveal()) > 0


async def test_without_room_it_is_coming_and_says_what_it_waits_for(
    databases: DatabaseServiceDatabases, service: FakeDatabaseService
) -> None:
    service.no_room()
    assert (await databases.allocate("i-1", C, Tier.FREE)).state is State.COMING
    seen = await databases.look("i-1")
    assert (seen.state, seen.login, seen.detail) == (State.COMING, None, "its database is waiting")
    service.make_room()
    assert (await databases.look("i-1", timedelta(seconds=20))).state is State.READY


async def test_what_nobody_knows_is_absent_and_what_was_released_has_ended(databases: DatabaseServiceDatabases) -> None:
    assert (await databases.look("i-1")).state is State.ABSENT
    await databases.allocate("i-1", C, Tier.FREE)
    await databases.release("i-1", "over")
    await databases.release("i-1", "over")
    assert (await databases.look("i-1")).state is State.ENDED
    await databases.release("never-there", "over")


async def test_the_same_errand_rotates_once_and_the_next_one_again(databases: DatabaseServiceDatabases) -> None:
    await databases.allocate("i-1", C, Tier.FREE)
    first, errand = await databases.login("i-1"), uuid4()
    assert await databases.rotate("i-1", errand, HOUR)
    second = await databases.login("i-1")
    assert await databases.rotate("i-1", errand, HOUR)
    assert (await databases.login("i-1")).user == second.user != first.user
    seen = await databases.look("i-1")
    assert seen.login
    assert seen.login.version == second.version


async def test_a_change_of_plan_is_one_operation_for_each_errand_and_is_followed_to_its_end(
    databases: DatabaseServiceDatabases, service: FakeDatabaseService
) -> None:
    await databases.allocate("i-1", C, Tier.FREE)
    errand = uuid4()
    begun = await databases.change_plan("i-1", Tier.PREMIUM, errand)
    assert (await databases.change_plan("i-1", Tier.PREMIUM, errand)).operation_id == begun.operation_id
    assert begun.operation_id
    service.clock.forward(3600)
    done = await databases.follow(begun.operation_id)
    assert (done.over, done.failed) == (True, None)


async def test_a_plan_it_has_already_is_a_change_that_is_over(databases: DatabaseServiceDatabases) -> None:
    await databases.allocate("i-1", C, Tier.FREE)
    same = await databases.change_plan("i-1", Tier.FREE, uuid4())
    assert (same.operation_id, same.over, same.failed) == (None, True, None)


async def test_a_change_that_fails_says_why(databases: DatabaseServiceDatabases, service: FakeDatabaseService) -> None:
    await databases.allocate("i-1", C, Tier.FREE)
    service.fail_moves("a table differs")
    begun = await databases.change_plan("i-1", Tier.PREMIUM, uuid4())
    assert begun.operation_id
    service.clock.forward(3600)
    done = await databases.follow(begun.operation_id)
    assert done.over
    assert "a table differs" in (done.failed or "")


async def test_another_ask_for_the_same_instance_is_refused_with_its_code(databases: DatabaseServiceDatabases) -> None:
    await databases.allocate("i-1", C, Tier.FREE)
    with pytest.raises(DatabaseRefused) as refused:
        await databases.allocate("i-1", CustomerId("c-2"), Tier.FREE)
    assert refused.value.theirs == "allocation_differs"


@pytest.mark.parametrize(
    "code", ["unavailable", "too_many_requests", "database_moving", "unauthenticated", "internal_error"]
)
async def test_what_passes_by_itself_is_no_refusal(
    databases: DatabaseServiceDatabases, service: FakeDatabaseService, code: str
) -> None:
    await databases.allocate("i-1", C, Tier.FREE)
    service.fail(code)
    with pytest.raises(DatabasesUnavailable):
        await databases.login("i-1")


async def test_a_service_that_is_away_is_unavailable(
    databases: DatabaseServiceDatabases, service: FakeDatabaseService
) -> None:
    service.be_away()
    with pytest.raises(DatabasesUnavailable):
        await databases.allocate("i-1", C, Tier.FREE)
