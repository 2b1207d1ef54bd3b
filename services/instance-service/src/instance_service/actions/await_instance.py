"""Hold a request until an instance has settled, or time is up."""

import asyncio
from datetime import timedelta

from instance_service.deps import Deps
from instance_service.domain.ids import InstanceId
from instance_service.domain.instances import SETTLED
from instance_service.store import instances


async def wait_for(deps: Deps, instance_id: InstanceId, wait: timedelta) -> None:
    """Returns when nothing more happens by itself that somebody asked for, or after `wait` (at most the policy's)."""
    patience = min(wait, deps.policy.longest_wait).total_seconds()
    with deps.changes.watch(instance_id) as changed:
        try:
            async with asyncio.timeout(patience):
                while not await _settled(deps, instance_id):
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return


async def _settled(deps: Deps, instance_id: InstanceId) -> bool:
    async with deps.db.connection() as conn:
        instance = await instances.get(conn, instance_id)
    return instance is None or instance.status in SETTLED
