"""Following: keep at one instance until it has settled, and hear of its database the moment it is ready."""

import asyncio
from datetime import datetime, timedelta

from instance_service.deps import Deps
from instance_service.domain.databases import State
from instance_service.domain.errors import ServiceError
from instance_service.domain.ids import InstanceId
from instance_service.domain.instances import SETTLED, Instance, Status
from instance_service.reconcilers.instances import step
from instance_service.store import instances


async def follow(deps: Deps, instance_id: InstanceId) -> None:
    """Step after step until nothing more is to be done soon, at most for the policy's `follow`; then the sweep goes on."""
    until = deps.now() + deps.policy.follow
    while deps.now() < until:
        instance = await step(deps, instance_id)
        if instance is None or instance.status in SETTLED:
            return
        await _pause(deps, instance, until)


async def _pause(deps: Deps, instance: Instance, until: datetime) -> None:
    if instance.status is Status.WAITING_FOR_DATABASE and await _came(deps, instance, until):
        async with deps.db.connection() as conn:
            await instances.make_due(conn, instance.id, deps.now())
    elif instance.due_at:
        seconds = (min(instance.due_at, until) - deps.now()).total_seconds()
        await asyncio.sleep(max(seconds, 0))  # noqa: TID251  a start is watched closely, and not for long


async def _came(deps: Deps, instance: Instance, until: datetime) -> bool:
    """Whether its database is ready, held at database-service until it is. False at once where that cannot be asked."""
    patience = max(min(deps.policy.long_poll, until - deps.now()), timedelta())
    try:
        return (await deps.databases.look(str(instance.id), patience)).state is State.READY
    except ServiceError:
        return False
