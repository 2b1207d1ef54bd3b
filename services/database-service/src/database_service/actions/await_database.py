"""Hold a request until its database is ready, or time is up."""

import asyncio
from datetime import timedelta

from database_service.deps import Deps
from database_service.domain.databases import Status
from database_service.domain.ids import InstanceId
from database_service.store import databases
from database_service.store.changes import DATABASE_CHANGED

UNFINISHED = frozenset({Status.WAITING, Status.CREATING})


async def wait_for(deps: Deps, instance_id: InstanceId, wait: timedelta) -> None:
    """Returns when the instance's database is neither waiting nor in the making, or after `wait` (at most the policy's)."""
    patience = min(wait, deps.policy.longest_wait).total_seconds()
    with deps.changes.watch(DATABASE_CHANGED, instance_id) as changed:
        try:
            async with asyncio.timeout(patience):
                while await _unfinished(deps, instance_id):
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return


async def _unfinished(deps: Deps, instance_id: InstanceId) -> bool:
    async with deps.db.connection() as conn:
        database = await databases.of_instance(conn, instance_id)
    return database is not None and database.status in UNFINISHED
