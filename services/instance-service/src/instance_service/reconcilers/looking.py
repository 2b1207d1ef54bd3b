"""Looking: what of the world the next move of an instance is decided by."""

import asyncio
from datetime import timedelta

from instance_service.deps import Deps
from instance_service.domain.databases import DatabaseSeen, State
from instance_service.domain.errors import ServiceError
from instance_service.domain.instances import LOOKS_AT_DATABASE, LOOKS_AT_WORKLOAD, Instance, World
from instance_service.domain.workloads import Presence, Seen
from instance_service.reconcilers.leasing import said

LOOK_TIMEOUT = timedelta(seconds=15)


async def look(deps: Deps, instance: Instance) -> World:
    """What cannot be looked at is UNKNOWN, with the reason."""
    workload, database = await asyncio.gather(_workload(deps, instance), _database(deps, instance))
    return World(workload, database)


async def _workload(deps: Deps, instance: Instance) -> Seen:
    if instance.status not in LOOKS_AT_WORKLOAD:
        return Seen(Presence.UNKNOWN)
    try:
        async with asyncio.timeout(LOOK_TIMEOUT.total_seconds()):
            return await deps.workloads.observe(instance.id)
    except (ServiceError, TimeoutError) as e:
        return Seen(Presence.UNKNOWN, detail=said(e))


async def _database(deps: Deps, instance: Instance) -> DatabaseSeen:
    if instance.status not in LOOKS_AT_DATABASE:
        return DatabaseSeen(State.UNKNOWN)
    try:
        async with asyncio.timeout(LOOK_TIMEOUT.total_seconds()):
            return await deps.databases.look(str(instance.id))
    except (ServiceError, TimeoutError) as e:
        return DatabaseSeen(State.UNKNOWN, detail=said(e))
