"""A place for a database on another server."""

from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from database_service.deps import Deps
from database_service.domain.databases import Database
from database_service.domain.errors import MoveBlocked
from database_service.domain.ids import DatabaseId, ServerId
from database_service.domain.operations import Operation
from database_service.domain.plans import ServerType
from database_service.reconcilers import progress
from database_service.reconcilers.leasing import reconciler
from database_service.reconcilers.moving.scene import Scene, note_twin, record
from database_service.reconcilers.ordering import new_dedicated
from database_service.store import moves, servers, slots
from database_service.store.pool import Conn

NO_ROOM = "there is no free room on another server; one is made where there is none"


async def take_seat(deps: Deps, scene: Scene) -> Operation:
    async with deps.db.transaction() as conn:
        await progress.fence(conn, scene.operation)
        twin = await _seat(conn, deps, scene)
        if twin:
            await note_twin(conn, deps, scene, twin, action="database.landing", before=None)
            seated = replace(scene.move, twin_id=twin.id, target_id=twin.server_id)
            saved = await record(conn, deps, scene, seated)
        else:
            await moves.save(conn, replace(scene.move, tries=scene.move.tries + 1))
    deps.nudge.capacity()
    if twin is None:
        return await progress.hold(deps, scene.operation, scene.step, NO_ROOM)
    if twin.server_id:
        deps.nudge.server(twin.server_id)
    return saved


async def _seat(conn: Conn, deps: Deps, scene: Scene) -> Database | None:
    """Where something of it is kept, else a free slot. None: there is no room."""
    move, now = scene.move, deps.now()
    if await _another_size_is_in_the_way(conn, deps, scene):
        return None
    target_id = await _target(conn, deps, scene)
    if target_id and (kept := await moves.kept_on(conn, scene.database.id, target_id, now)):
        return await moves.land_again(conn, kept.id, now)
    if move.back:
        raise MoveBlocked(["What it left there is no longer kept."])
    return await _fresh(conn, scene, target_id, now) or await _where_it_was(conn, scene, target_id, now)


async def _fresh(conn: Conn, scene: Scene, target_id: ServerId | None, now: datetime) -> Database | None:
    twin_id = DatabaseId(uuid4())
    seat = await (
        slots.reserve_on(conn, twin_id, target_id) if target_id else slots.reserve(conn, twin_id, scene.database.name)
    )
    return await moves.land(conn, twin_id, scene.database, scene.move.after, seat, now) if seat else None


async def _where_it_was(conn: Conn, scene: Scene, target_id: ServerId | None, now: datetime) -> Database | None:
    """A server holds no name twice, so a place that it left is free for nobody but itself."""
    left = None if target_id else await moves.kept_somewhere(conn, scene.database.id)
    kept = await moves.kept_on(conn, scene.database.id, left, now) if left else None
    return await moves.land_again(conn, kept.id, now) if kept else None


async def _target(conn: Conn, deps: Deps, scene: Scene) -> ServerId | None:
    """The server that was asked for, or the instance's dedicated one, which is ordered where there is none. None: any."""
    move, ask = scene.move, scene.database.ask
    if move.target_id or move.after.server_type is not ServerType.DEDICATED or ask is None:
        return move.target_id
    tier = move.after.plan_tier
    existing = await servers.dedicated_of(conn, ask.instance_id)
    ordered = existing or await new_dedicated(conn, deps, reconciler(), ask.instance_id, ask.customer_id, tier)
    return ordered.id if ordered else None


async def _another_size_is_in_the_way(conn: Conn, deps: Deps, scene: Scene) -> bool:
    """An instance has one server of its own. One for another plan goes first, with what the database left on it."""
    move, ask = scene.move, scene.database.ask
    if move.target_id or move.after.server_type is not ServerType.DEDICATED or ask is None:
        return False
    existing = await servers.dedicated_of(conn, ask.instance_id)
    if existing is None or existing.plan_tier is move.after.plan_tier:
        return False
    if not await slots.occupied(conn, existing.id):
        raise MoveBlocked(
            [f"Its own server {existing.name} was made for the plan {existing.plan_tier}; retire it first."]
        )
    await moves.end_keeping(conn, scene.database.id, deps.now())
    return True
