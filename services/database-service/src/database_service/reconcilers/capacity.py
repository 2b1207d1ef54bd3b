"""Room: who waits is seated, servers that are missing are ordered once, and spares are kept ready."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import uuid4

import structlog

from database_service.deps import Deps
from database_service.domain import capacity
from database_service.domain.databases import TEMPLATES, Database
from database_service.domain.errors import Unavailable
from database_service.domain.ids import DatabaseId, ServerId
from database_service.reconcilers import databases as database_steps
from database_service.reconcilers.leasing import reconciler
from database_service.reconcilers.newborn import new_spare
from database_service.reconcilers.ordering import new_shared
from database_service.store import databases, slots
from database_service.store.pool import Conn

log = structlog.get_logger(__name__)

T = TypeVar("T")

SLACK = 50
"""So many who cannot be seated (each server has their name) do not keep those behind them from a seat."""

MOST_AT_ONCE = 1000
MOST_SPARES_AT_ONCE = 128
"""So many are built well within the lease that they are begun with."""


async def step(deps: Deps) -> None:
    """Seat, order, refill: each part safe to run twice, and at the same time as another."""
    await seat_waiting(deps)
    for server_id in await order_missing(deps):
        deps.nudge.server(server_id)
    await refill(deps)


async def seat_waiting(deps: Deps) -> None:
    """Spares first, as that is one statement for all; then free slots, each to be built.

    Hardly more are looked at than there are slots: a thousand who wait in vain must not keep the next pool's from being served.
    """
    for template in sorted(TEMPLATES):
        async with deps.db.connection() as conn:
            handed = await databases.hand_spares_to_waiting(conn, template, reconciler(), deps.now(), MOST_AT_ONCE)
        if handed:
            log.info("waiting.served_from_spares", count=handed)
    async with deps.db.connection() as conn:
        free = await slots.count_free(conn, MOST_AT_ONCE)
        waiting = await databases.waiting(conn, free + SLACK) if free else []
    await in_parallel(deps, waiting, lambda row_id: _seat_and_build(deps, DatabaseId(row_id)))


async def _seat_and_build(deps: Deps, database_id: DatabaseId) -> None:
    async with deps.db.connection() as conn:
        await databases.seat_now(conn, database_id, deps.now())
    seated = await database_steps.step(deps, database_id)
    if seated and seated.server_id:
        await database_steps.step(deps, database_id)


async def order_missing(deps: Deps) -> Sequence[ServerId]:
    """Decide under one lock over all processes what is missing, and order just that; returns the new servers."""
    async with deps.db.transaction() as conn:
        if not await slots.lock_capacity(conn):
            return ()
        room = await _room(conn, deps)
        missing = capacity.servers_to_order(room, deps.policy)
        ordered = [await new_shared(conn, deps, reconciler(), why=_why(room)) for _ in range(missing)]
    if ordered:
        log.info("servers.ordered", count=len(ordered), waiting=room.waiting, free=room.free, coming=room.coming)
    return [server.id for server in ordered if server]


def _why(room: capacity.Room) -> str:
    return f"{room.waiting} waiting, {room.spares} spares, {room.free} free slots, {room.coming} coming"


async def _room(conn: Conn, deps: Deps) -> capacity.Room:
    horizon = deps.policy.spare_horizon
    return await slots.room(conn, deps.now() - horizon, horizon.total_seconds() / 60)


async def refill(deps: Deps) -> int:
    """Build the spares that are missing; returns how many were begun."""
    async with deps.db.transaction() as conn:
        if not await slots.lock_capacity(conn):
            return 0
        missing = capacity.spares_to_build(await _room(conn, deps), deps.policy)
        begun = [spare for _ in range(min(missing, MOST_SPARES_AT_ONCE)) if (spare := await _begin_spare(conn, deps))]
    await in_parallel(deps, begun, lambda spare: database_steps.step(deps, spare.id))
    return len(begun)


async def _begin_spare(conn: Conn, deps: Deps) -> Database | None:
    database_id = DatabaseId(uuid4())
    seat = await slots.reserve(conn, database_id)
    return await new_spare(conn, deps, database_id, seat) if seat else None


async def in_parallel(deps: Deps, items: Sequence[T], work: Callable[[T], Awaitable[object]]) -> None:
    """As many at once as the policy's sweep allows; one that crashes is passed by.

    Where a dependency is away the rest is tried all the same, as a step that is cut off would keep its lease; then Unavailable
    is raised.
    """
    width = asyncio.Semaphore(deps.policy.sweep_width)
    away: list[Unavailable] = []

    async def one(item: T) -> None:
        async with width:
            try:
                await work(item)
            except Unavailable as e:
                away.append(e)
            except Exception:
                log.exception("step.crashed", item=str(item))

    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(one(item))
    if away:
        raise away[0]
