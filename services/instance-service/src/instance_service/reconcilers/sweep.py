"""The sweep: reconcile whatever is due. It is the guarantee behind every nudge."""

import asyncio

import structlog

from instance_service.deps import Deps
from instance_service.domain.errors import Unavailable
from instance_service.domain.ids import InstanceId
from instance_service.domain.instances import SETTLED
from instance_service.reconcilers.instances import step
from instance_service.store import instances

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 500


async def sweep(deps: Deps) -> list[InstanceId]:
    """One pass over all due rows, as many at once as the policy allows; returns those that are still on their way, for
    whoever follows them.

    One that crashes is passed by. Where our own database is away the rest is tried all the same, as a step that is cut off
    would keep its lease; then Unavailable is raised.
    """
    async with deps.db.connection() as conn:
        due = await instances.due(conn, deps.now(), MOST_AT_ONCE)
    width = asyncio.Semaphore(deps.policy.sweep_width)
    away: list[Unavailable] = []
    on_their_way: list[InstanceId] = []

    async def one(instance_id: InstanceId) -> None:
        async with width:
            try:
                after = await step(deps, instance_id)
                if after and after.status not in SETTLED:
                    on_their_way.append(instance_id)
            except Unavailable as e:
                away.append(e)
            except Exception:
                log.exception("step.crashed", instance_id=str(instance_id))

    async with asyncio.TaskGroup() as group:
        for instance_id in due:
            group.create_task(one(instance_id))
    if away:
        raise away[0]
    return on_their_way
