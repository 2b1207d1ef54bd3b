"""How a move ends: turned back or through, its database open again, and nothing left that only the move needed."""

import asyncio
from dataclasses import replace

import structlog

from database_service.deps import Deps
from database_service.domain.databases import Status
from database_service.domain.errors import ServiceError
from database_service.domain.moves import CANCELLED, Phase
from database_service.domain.operations import Operation, StepState
from database_service.domain.servers import Status as ServerStatus
from database_service.reconcilers import databases as database_steps
from database_service.reconcilers import progress
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.leasing import said
from database_service.reconcilers.moving.scene import (
    Scene,
    note,
    note_twin,
    present,
    record,
    save,
    source_admin,
    tenant_of,
)
from database_service.store import databases, moves
from database_service.store.pool import Conn

log = structlog.get_logger(__name__)


async def turn_back(deps: Deps, scene: Scene, why: str) -> Operation:
    """The source counts, as it did all the time; the seat on the target goes, with what may be there: but what is kept there
    since an earlier move, and no attempt has touched, is kept on."""
    now, move = deps.now(), scene.move
    async with deps.db.transaction() as conn:
        await progress.fence(conn, scene.operation)
        database = await moves.reopen(conn, scene.database.id, now)
        if database:
            await note(conn, deps, scene.database, database, why, action="database.move_undone")
        if move.twin_id:
            await _give_seat_back(conn, deps, scene)
        return await record(conn, deps, scene, move.undone(why, now))


async def _give_seat_back(conn: Conn, deps: Deps, scene: Scene) -> None:
    twin, now = present(scene.twin), deps.now()
    untouched = scene.move.back or scene.move.attempt == 0
    if untouched and twin.purge_after:
        given = await moves.keep_on(conn, twin.id, now, twin.purge_after)
    else:
        given = await moves.give_back(conn, twin.id, now)
    if given:
        await note_twin(conn, deps, scene, given, action="database.seat_given_back", before=twin)


async def await_open(deps: Deps, scene: Scene) -> Operation:
    await database_steps.step_now(deps, scene.database.id)
    async with deps.db.connection() as conn:
        database = present(await databases.get(conn, scene.database.id))
    if database.status is Status.CREATING:
        return await progress.hold(deps, scene.operation, scene.step, database.last_error or "its door is being opened")
    return await _begin_tidying(deps, replace(scene, database=database))


async def _begin_tidying(deps: Deps, scene: Scene, why: str | None = None) -> Operation:
    opened = scene.database.status_since if scene.database.status is Status.READY and scene.move.fenced_at else None
    return await save(deps, scene, replace(scene.move.become(Phase.TIDYING, deps.now()), opened_at=opened), why)


async def tidy(deps: Deps, scene: Scene, why: str | None) -> Operation:
    """Movers go, and attempts that nobody needs. One server that does not answer is given some time, and then left to drift."""
    if scene.move.phase is not Phase.TIDYING:
        return await _begin_tidying(deps, scene, why)
    patient = deps.now() - scene.move.phase_since < deps.policy.move_open_timeout
    try:
        async with asyncio.timeout(deps.policy.effect_timeout.total_seconds()):
            await _remove_traces(deps, scene)
    except (ServiceError, TimeoutError) as e:
        if patient:
            return await progress.hold(deps, scene.operation, scene.step, said(e))
        log.warning("move.traces_left", error=said(e))
    return await _end(deps, scene)


async def _remove_traces(deps: Deps, scene: Scene) -> None:
    for server in (scene.source, scene.target):
        if server and server.address and server.status is not ServerStatus.GONE:
            admin = admin_of(deps, server)
            await deps.transfers.dismiss(admin, scene.move.mover_role)
    if scene.move.switched_at and scene.source.status is not ServerStatus.GONE:
        await deps.tenants.close(source_admin(deps, scene), await tenant_of(deps, scene))


async def _end(deps: Deps, scene: Scene) -> Operation:
    now, move, step = deps.now(), scene.move, scene.step
    if move.undone_why is None:
        ended = step.become(StepState.FAILED if step.error else StepState.SUCCEEDED, now)
    elif move.undone_why == CANCELLED:
        ended = step.become(StepState.CANCELLED, now, CANCELLED)
    else:
        ended = step.become(StepState.FAILED, now, move.undone_why)
    over = Phase.UNDONE if move.undone_why else Phase.DONE
    async with deps.db.transaction() as conn:
        await progress.fence(conn, scene.operation)
        await moves.save(conn, replace(move.become(over, now), fraction=None))
        return await progress.record_in(conn, deps, scene.operation, ended)
