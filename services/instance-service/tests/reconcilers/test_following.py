"""Following an instance: it is led to its end, and its database is heard of the moment it is ready."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

from instance_service.actions.create import create
from instance_service.domain.databases import DatabaseSeen, State
from instance_service.domain.instances import Status
from instance_service.reconcilers.following import follow
from instance_service.store import instances
from instance_support.house import WHO, House, ask, open_house
from instance_support.worlds import FakeDatabases


@dataclass
class Held(FakeDatabases):
    """Holds a question that may wait until the database is there, as database-service does."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    there: asyncio.Event = field(default_factory=asyncio.Event)

    async def look(self, instance_id: str, wait: timedelta = timedelta()) -> DatabaseSeen:
        while wait and self.made[instance_id].state is State.COMING:
            self.asked.set()
            await asyncio.wait_for(self.there.wait(), 20)
        return await super().look(instance_id)


async def test_one_with_room_is_led_to_running_without_a_sweep(house: House) -> None:
    made = await create(house.deps, ask(), WHO)
    await follow(house.deps, made.id)
    assert await house.status(made.id) is Status.RUNNING


async def test_one_that_waits_goes_on_as_soon_as_its_database_is_there_and_not_at_its_next_look(own_dsn: str) -> None:
    databases = Held(room=False)
    patient = {"long_poll": timedelta(seconds=20), "database_poll": timedelta(hours=1), "follow": timedelta(minutes=5)}
    async with open_house(own_dsn, databases=databases, **patient) as house:
        made = await create(house.deps, ask(), WHO)
        following = asyncio.create_task(follow(house.deps, made.id))
        async with asyncio.timeout(20):
            await databases.asked.wait()
            assert await house.status(made.id) is Status.WAITING_FOR_DATABASE
            databases.come()
            databases.there.set()
            await following
        assert await house.status(made.id) is Status.RUNNING


async def test_one_that_somebody_else_has_is_left_to_them(house: House) -> None:
    made = await create(house.deps, ask(), WHO)
    async with house.deps.db.connection() as conn:
        await instances.claim(conn, made.id, house.clock(), timedelta(seconds=90), uuid4())
    await follow(house.deps, made.id)
    assert await house.status(made.id) is Status.PENDING
