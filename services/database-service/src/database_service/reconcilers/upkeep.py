"""Work by the clock: health checks that are overdue, sessions that overrun their plan, servers that never came up."""

import structlog

from database_service.deps import Deps
from database_service.domain.ids import DatabaseId, ServerId
from database_service.domain.plans import PLANS
from database_service.domain.servers import Server, Status
from database_service.reconcilers import databases as database_steps
from database_service.reconcilers import servers as server_steps
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.capacity import in_parallel
from database_service.reconcilers.everywhere import on_every_server
from database_service.reconcilers.leasing import reconciler
from database_service.reconcilers.moving.dumps import clear_dumps
from database_service.reconcilers.retiring import retire_in
from database_service.store import databases, logins, requests, servers

log = structlog.get_logger(__name__)

MOST_PURGED_AT_ONCE = 500
MOST_FORGOTTEN_AT_ONCE = 5000


async def check_health(deps: Deps) -> int:
    """Look at every server that was not looked at for one health interval; returns how many."""
    now = deps.now()
    async with deps.db.connection() as conn:
        due = await servers.make_unchecked_due(conn, now, now - deps.policy.health_interval)
    await in_parallel(deps, due, lambda row_id: server_steps.step(deps, ServerId(row_id)))
    return len(due)


async def enforce_limits(deps: Deps) -> int:
    """End sessions that overrun their plan's times, whatever they set for themselves; returns how many."""
    return await on_every_server(deps, _enforce_on, "limits.not_enforced")


async def _enforce_on(deps: Deps, server: Server) -> int:
    async with deps.db.connection() as conn:
        tiers = await logins.tiers_on(conn, server.id)
    limits = {role: PLANS[tier].limits for role, tier in tiers.items()}
    overruns = await deps.tenants.enforce(admin_of(deps, server), limits)
    for overrun in overruns:
        log.info("session.ended", server_id=str(server.id), role=overrun.role, why=overrun.why, after_s=overrun.seconds)
    return len(overruns)


async def cleanup_failed_pools(deps: Deps) -> int:
    """Retire servers that failed long ago and hold nobody's database; returns how many."""
    since = deps.now() - deps.policy.failed_pool_grace
    async with deps.db.connection() as conn:
        failed = await servers.failed_and_empty(conn, since)
    retired = [server for row_id in failed if (server := await _retire_failed(deps, ServerId(row_id)))]
    for server in retired:
        deps.nudge.server(server.id)
    return len(retired)


async def _retire_failed(deps: Deps, server_id: ServerId) -> Server | None:
    async with deps.db.transaction() as conn:
        server = await servers.lock(conn, server_id)
        if server is None or server.status is not Status.ERROR:
            return None
        return await retire_in(conn, deps, server, reconciler(), why="it failed and never recovered")


async def purge_released(deps: Deps) -> int:
    """End what is past its grace, without waiting for the sweep's turn; returns how many were past it."""
    async with deps.db.connection() as conn:
        past = await databases.past_grace(conn, deps.now(), MOST_PURGED_AT_ONCE)
    await in_parallel(deps, past, lambda row_id: _purge_and_drop(deps, DatabaseId(row_id)))
    await clear_dumps(deps)
    return len(past)


async def _purge_and_drop(deps: Deps, database_id: DatabaseId) -> None:
    if await database_steps.step(deps, database_id):
        await database_steps.step(deps, database_id)


async def forget_requests(deps: Deps) -> int:
    """Forget what is too old for the request log, in short transactions; returns how many."""
    before = deps.now() - deps.policy.request_log_keep
    forgotten = MOST_FORGOTTEN_AT_ONCE
    total = 0
    while forgotten == MOST_FORGOTTEN_AT_ONCE:
        async with deps.db.connection() as conn:
            forgotten = await requests.forget(conn, before, MOST_FORGOTTEN_AT_ONCE)
        total += forgotten
    return total
