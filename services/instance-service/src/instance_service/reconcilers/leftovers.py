"""Leftovers: workloads of ours that no instance stands for. An effect that outlived its worker may leave one."""

import asyncio
from collections.abc import Sequence

import structlog

from instance_service.deps import Deps
from instance_service.domain.errors import WorkloadFailed
from instance_service.domain.instances import Status
from instance_service.domain.workloads import Found
from instance_service.observability import metrics
from instance_service.reconcilers.leasing import said
from instance_service.store import instances

log = structlog.get_logger(__name__)


async def clear_leftovers(deps: Deps) -> None:
    """Remove those of deleted instances. Those that no row knows are only told of: it may be our rows that are lost.

    Raises Unavailable where our own database is away.
    """
    try:
        # Before the rows: a row is there before its workload.
        found = await deps.workloads.list_ours()
    except WorkloadFailed as e:
        log.warning("leftovers.not_listed", error=said(e))
        return
    async with deps.db.connection() as conn:
        known = await instances.statuses(conn, [each.id for each in found])
    _tell([each for each in found if each.id not in known])
    for each in found:
        if known.get(each.id) is Status.DELETED:
            await _remove(deps, each)


def _tell(unknown: Sequence[Found]) -> None:
    metrics.show_unknown_workloads(len(unknown))
    for each in unknown:
        log.warning("leftovers.unknown", instance_id=str(each.id), name=each.name, traces=list(each.traces))


async def _remove(deps: Deps, leftover: Found) -> None:
    try:
        async with asyncio.timeout(deps.policy.effect_timeout.total_seconds()):
            await deps.workloads.remove(leftover.id)
    except (WorkloadFailed, TimeoutError) as e:
        log.warning("leftovers.not_removed", instance_id=str(leftover.id), error=said(e))
        return
    log.info("leftovers.removed", instance_id=str(leftover.id), traces=list(leftover.traces))
