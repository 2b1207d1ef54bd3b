"""From the source to the target: the door shut, the data copied, both compared, and the switch."""

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from database_service.deps import Deps
from database_service.domain import naming
from database_service.domain.errors import MoveBlocked
from database_service.domain.moves import Move, Phase
from database_service.domain.operations import Operation
from database_service.domain.plans import PLANS
from database_service.domain.servers import Status as ServerStatus
from database_service.domain.transfers import Progress
from database_service.reconcilers import progress
from database_service.reconcilers.leasing import LostLease
from database_service.reconcilers.moving.dumps import clear_dumps
from database_service.reconcilers.moving.ending import turn_back
from database_service.reconcilers.moving.scene import (
    Scene,
    note,
    note_twin,
    passage_of,
    present,
    record,
    save,
    source_admin,
    target_admin,
    tenant_of,
    way,
)
from database_service.secretbox import random_name_bytes
from database_service.store import moves, servers
from database_service.store.pool import Conn

AT_WORK = "a step of the database itself is at work"


async def survey_and_shut(deps: Deps, scene: Scene) -> Operation:
    """The last moment at which nobody notices anything."""
    tenant = await tenant_of(deps, scene)
    async with asyncio.timeout(deps.policy.effect_timeout.total_seconds()):
        survey = await deps.transfers.survey(source_admin(deps, scene), tenant, target_admin(deps, scene))
    if survey.blockers and not scene.move.back:
        raise MoveBlocked(survey.blockers)
    now = deps.now()
    async with deps.db.transaction() as conn:
        await progress.fence(conn, scene.operation)
        shut = await moves.shut(conn, scene.database.id, now)
        if shut:
            await note(conn, deps, scene.database, shut, way(scene), action="database.move_begun")
            fencing = replace(scene.move.become(Phase.FENCING, now), size_bytes=survey.size_bytes, fenced_at=now)
            return await record(conn, deps, scene, fencing)
    return await progress.hold(deps, scene.operation, scene.step, AT_WORK)


async def fence(deps: Deps, scene: Scene) -> Operation:
    scene = await _begin_try(deps, scene)
    tenant = await tenant_of(deps, scene)
    async with asyncio.timeout((deps.policy.effect_timeout + deps.policy.move_drain).total_seconds()):
        await deps.transfers.fence(source_admin(deps, scene), tenant, deps.policy.move_drain)
    following = Phase.VERIFYING if scene.move.back else Phase.COPYING
    return await save(deps, scene, scene.move.become(following, deps.now()))


async def copy(deps: Deps, scene: Scene) -> Operation:
    """Each attempt has a name of its own, which is stored before it is used."""
    scene = await _begin_attempt(deps, scene)
    told = scene.move.fraction

    def tell(seen: Progress) -> None:
        nonlocal told
        told = seen.fraction

    async def beat(conn: Conn) -> None:
        await moves.tell(conn, scene.move, told)

    await clear_dumps(deps, scene.operation)
    passage = await passage_of(deps, scene)
    with _room(deps, scene.move) as folder:
        operation, _ = await progress.kept(deps, scene.operation, deps.transfers.copy(passage, folder, tell), beat)
    copied = scene.move.become(Phase.VERIFYING, deps.now())
    return await save(deps, replace(scene, operation=operation), copied)


async def _begin_attempt(deps: Deps, scene: Scene) -> Scene:
    twin = present(scene.twin)
    staging = naming.database_name(random_name_bytes())
    stale = (*scene.move.stale, twin.physical_name) if twin.physical_name else scene.move.stale
    move = replace(scene.move, attempt=scene.move.attempt + 1, tries=scene.move.tries + 1, stale=stale)
    async with deps.db.transaction() as conn:
        await progress.fence(conn, scene.operation)
        await moves.save(conn, move)
        await moves.call(conn, twin.id, staging)
    return replace(scene, move=move, twin=replace(twin, physical_name=staging))


async def _begin_try(deps: Deps, scene: Scene) -> Scene:
    """Counted before, so that what kills whoever tries is not tried for ever."""
    move = replace(scene.move, tries=scene.move.tries + 1)
    async with deps.db.transaction() as conn:
        await progress.fence(conn, scene.operation)
        await moves.save(conn, move)
    return replace(scene, move=move)


async def compare_and_switch(deps: Deps, scene: Scene) -> Operation:
    scene = await _begin_try(deps, scene)
    passage = await passage_of(deps, scene)
    operation, differences = await progress.kept(deps, scene.operation, deps.transfers.compare(passage))
    if differences:
        return await turn_back(deps, replace(scene, operation=operation), _unequal(scene.move, differences))
    return await _switch(deps, replace(scene, operation=operation))


def _unequal(move: Move, differences: Sequence[str]) -> str:
    what = "it was written to since it moved" if move.back else "the copy is not the same"
    return f"{what}: {'; '.join(differences)}"[:1000]


async def _switch(deps: Deps, scene: Scene) -> Operation:
    """The one moment at which the other server begins to count."""
    now, after = deps.now(), scene.move.after
    kept_until = now if scene.move.back else now + PLANS[after.plan_tier].grace
    async with deps.db.transaction() as conn:
        await progress.fence(conn, scene.operation)
        # Its server first, as who retires it does: what is retired is never switched to, what was switched to never retired.
        target = await servers.lock(conn, present(scene.target).id)
        if target is None or target.status is not ServerStatus.ACTIVE:
            raise LostLease
        database = present(await moves.lock(conn, scene.database.id))
        twin = present(await moves.lock(conn, present(scene.twin).id))
        if (database.status, twin.status) != (scene.database.status, present(scene.twin).status):
            raise LostLease
        switched = await moves.switch(conn, database, twin, after, now, kept_until)
        await note(conn, deps, database, switched.database, way(scene), action="database.moved")
        await note_twin(conn, deps, scene, switched.twin, action="database.left_behind", before=twin)
        opening = replace(scene.move.become(Phase.OPENING, now), switched_at=now, kept_until=kept_until)
        return await record(conn, deps, scene, opening)


@contextmanager
def _room(deps: Deps, move: Move) -> Iterator[Path]:
    """A folder for one attempt's dump."""
    folder = deps.move_dir / f"{move.operation_id}-{move.ordinal}-{move.attempt}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
