"""Usage: what databases use is sampled, server by server; who crosses a limit of its plan's storage is told of, and stopped."""

from collections.abc import Sequence
from datetime import datetime

import structlog

from database_service.deps import Deps
from database_service.domain.databases import Status
from database_service.domain.ids import DatabaseId
from database_service.domain.plans import PLANS
from database_service.domain.servers import Server
from database_service.domain.usage import Asked, Level, Sample, Stop, Usage, judge, take_in
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.everywhere import on_every_server
from database_service.reconcilers.history import remember
from database_service.reconcilers.storage import judged
from database_service.store import databases, moves, usage
from database_service.store.usage import InUse

log = structlog.get_logger(__name__)


async def sample_usage(deps: Deps) -> int:
    """One look at every server; returns how many databases were sampled."""
    return await on_every_server(deps, _sample_on, "usage.not_sampled")


async def _sample_on(deps: Deps, server: Server) -> int:
    async with deps.db.connection() as conn:
        in_use = await usage.on_server(conn, server.id)
    asked = _asked(in_use, deps.now())
    samples = await deps.tenants.usage(admin_of(deps, server), asked, deps.policy.size_interval) if asked else ()
    await _take_in(deps, server, in_use, samples)
    return len(samples)


def _asked(in_use: Sequence[InUse], now: datetime) -> Sequence[Asked]:
    return [_question(each, now) for each in in_use]


def _question(about: InUse, now: datetime) -> Asked:
    """Of one that is nearly full the size is always taken: VACUUM makes it smaller and writes no row."""
    before = about.usage
    if before is None or before.sized_at is None or about.standing.level is not Level.OK:
        return Asked(about.name)
    return Asked(about.name, before.written, (now - before.sized_at).total_seconds())


async def _take_in(deps: Deps, server: Server, in_use: Sequence[InUse], samples: Sequence[Sample]) -> None:
    now = deps.now()
    by_name = {sample.name: sample for sample in samples}
    seen = [
        (each, take_in(each.usage, by_name[each.name], each.id, server.id, now))
        for each in in_use
        if each.name in by_name
    ]
    async with deps.db.transaction() as conn:
        await usage.keep(conn, [after for _, after in seen])
        await remember(conn, deps, server, now)
    for each, after in seen:
        if after.size_bytes is not None:
            await _consider(deps, each, after.size_bytes)


async def _consider(deps: Deps, before: InUse, size_bytes: int) -> None:
    """Nothing is written of one that stands as it stood."""
    standing = judge(before.standing, size_bytes, PLANS[before.tier])
    if standing != before.standing:
        await _cross(deps, before.id)
    elif standing.stop is not Stop.NONE and _grew(before.usage, size_bytes):
        async with deps.db.transaction() as conn:
            await databases.stop_again(conn, before.id, deps.now())
        deps.nudge.database(before.id)


def _grew(before: Usage | None, size_bytes: int) -> bool:
    return before is not None and before.size_bytes is not None and size_bytes > before.size_bytes


async def _cross(deps: Deps, database_id: DatabaseId) -> None:
    """Judged again under the lock: two who look at once tell of it once. What moves meanwhile is judged when it is there."""
    async with deps.db.transaction() as conn:
        database = await moves.lock(conn, database_id)
        if database is None or database.status is not Status.READY:
            return
        stop = await judged(conn, database, deps.now())
        if stop is not database.stop_wanted:
            await databases.want_stop(conn, database_id, stop, deps.now())
    deps.nudge.database(database_id)
