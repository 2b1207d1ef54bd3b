"""Hold a request until its database is ready, or time is up."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from database_service.admission.gate import Why, aside
from database_service.deps import Deps
from database_service.domain.databases import Status
from database_service.domain.errors import Overloaded
from database_service.domain.ids import InstanceId, ServerId
from database_service.store import databases
from database_service.store.changes import DATABASE_CHANGED

ENDED = frozenset({Status.RELEASING, Status.RELEASED, Status.PURGED})
UNFINISHED = frozenset({Status.WAITING, Status.CREATING, Status.MOVING})


async def wait_for(deps: Deps, instance_id: InstanceId, wait: timedelta, *, while_on: ServerId | None = None) -> None:
    """Returns when the instance's database is neither waiting, in the making nor moving, and no longer on that server, or
    after `wait` (at most the policy's)."""

    async def finished() -> bool:
        async with deps.db.connection() as conn:
            database = await databases.of_instance(conn, instance_id)
        if database is None or database.status in ENDED:
            return True
        return database.status not in UNFINISHED and (while_on is None or database.server_id != while_on)

    await until(deps, DATABASE_CHANGED, instance_id, wait, finished)


async def until(deps: Deps, channel: str, key: str, wait: timedelta, done: Callable[[], Awaitable[bool]]) -> None:
    """Returns when `done`, which is asked now and at each change of the row that `channel` tells of by `key`, or after `wait`.

    While it waits, its place in this process is another's. Where too many wait already it returns at once.
    """
    patience = min(wait, deps.policy.longest_wait).total_seconds()
    with deps.changes.watch(channel, key) as changed:
        try:
            async with asyncio.timeout(patience):
                while not await done():
                    with aside(Why.CHANGE):
                        await changed.wait()
                    changed.clear()
        except TimeoutError:
            await done()  # a notification may have been lost
        except Overloaded:
            return  # too many wait; what was just seen is the answer
