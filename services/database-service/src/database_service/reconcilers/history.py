"""History: what a sample found is remembered with it, in the same transaction, and forgotten when it is old."""

from datetime import date, datetime

from database_service.deps import Deps
from database_service.domain.growth import HOURS_KEPT, LOOKED_BACK, Sizes, full_on, with_day
from database_service.domain.plans import PLANS
from database_service.domain.servers import Server
from database_service.store import history
from database_service.store.history import Grown
from database_service.store.pool import Conn

MOST_FORGOTTEN_AT_ONCE = 5000


async def remember(conn: Conn, deps: Deps, server: Server, now: datetime) -> None:
    """A look costs one statement. What changes slowly is reckoned at the first look of each hour."""
    if await history.keep_server(conn, server.id, now):
        days = await history.slots_by_day(conn, server.id, now - LOOKED_BACK)
        await history.expect_full(conn, server.id, now, full_on(days, server.max_instances))
        await _remember_sizes(conn, deps, server, now.date())


async def _remember_sizes(conn: Conn, deps: Deps, server: Server, today: date) -> None:
    most_days = deps.policy.history_keep.days
    if grown := await history.not_written(conn, server.id, today):
        await history.write(conn, {each.id: _written(each, today, most_days) for each in grown})


def _written(grown: Grown, today: date, most_days: int) -> tuple[Sizes, date | None]:
    sizes = with_day(grown.before, today, grown.size_bytes, most_days)
    return sizes, full_on(sizes.recent, PLANS[grown.tier].storage_bytes)


async def forget_history(deps: Deps) -> int:
    """Forget what servers had too long ago, in short transactions; returns how many stretches of time."""
    now = deps.now()
    return await _forget(deps, 1, now - HOURS_KEPT) + await _forget(deps, 24, now - deps.policy.history_keep)


async def _forget(deps: Deps, hours: int, before: datetime) -> int:
    forgotten, total = MOST_FORGOTTEN_AT_ONCE, 0
    while forgotten == MOST_FORGOTTEN_AT_ONCE:
        async with deps.db.connection() as conn:
            forgotten = await history.forget(conn, hours, before, MOST_FORGOTTEN_AT_ONCE)
        total += forgotten
    return total
