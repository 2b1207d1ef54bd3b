"""Moves: a tenant's database goes to another server, one effect after the other, and back where anything is amiss.

Its door is opened by its own step, before and after: a move only says on which server that is.
"""

from collections.abc import Sequence

import structlog

from database_service.deps import Deps
from database_service.domain.databases import Status
from database_service.domain.errors import ServiceError
from database_service.domain.ids import DatabaseId
from database_service.domain.moves import (
    AwaitOpen,
    Compare,
    Copy,
    Fence,
    Hold,
    Next,
    Phase,
    Rest,
    Survey,
    TakeSeat,
    Tidy,
    TurnBack,
    decide,
)
from database_service.domain.operations import Operation, Step, StepState, Target
from database_service.reconcilers import databases as database_steps
from database_service.reconcilers import progress
from database_service.reconcilers.leasing import said
from database_service.reconcilers.moving.crossing import compare_and_switch, copy, fence, survey_and_shut
from database_service.reconcilers.moving.ending import await_open, tidy, turn_back
from database_service.reconcilers.moving.scene import Scene, look, present
from database_service.reconcilers.moving.seats import take_seat
from database_service.store import databases, moves

log = structlog.get_logger(__name__)


class Moves:
    """The work of every kind whose steps are about tenants' databases."""

    async def prepare(self, deps: Deps, operation: Operation, steps: Sequence[Step]) -> Target:
        return operation.target

    async def begin(self, deps: Deps, operation: Operation, step: Step) -> Operation:
        """Its time begins now, however long others were before it."""
        now = deps.now()
        async with deps.db.transaction() as conn:
            await progress.fence(conn, operation)
            if move := await moves.get(conn, operation.id, step.ordinal):
                await moves.save(conn, move.become(Phase.SEATING, now))
            return await progress.record_in(conn, deps, operation, step.become(StepState.RUNNING, now))

    async def carry(self, deps: Deps, operation: Operation, step: Step) -> Operation:
        scene = await look(deps, operation, step)
        if scene is None:
            return await _limits_only(deps, operation, step)
        with structlog.contextvars.bound_contextvars(database_id=str(scene.database.id)):
            return await _make(deps, scene, decide(scene.move, scene.sight, deps.now(), deps.policy))


async def _make(deps: Deps, scene: Scene, following: Next) -> Operation:
    match following:
        case AwaitOpen():
            return await await_open(deps, scene)
        case Tidy(why):
            return await tidy(deps, scene, why)
        case TurnBack(why):
            return await turn_back(deps, scene, why)
        case Hold(why):
            return await progress.hold(deps, scene.operation, scene.step, why)
        case Rest():
            return await progress.record(deps, scene.operation, scene.step)
        case _:
            return await _go_on(deps, scene, following)


async def _go_on(deps: Deps, scene: Scene, following: TakeSeat | Survey | Fence | Copy | Compare) -> Operation:
    """Towards the switch; whatever fails before it turns the move back."""
    try:
        match following:
            case TakeSeat():
                return await take_seat(deps, scene)
            case Survey():
                return await survey_and_shut(deps, scene)
            case Fence():
                return await fence(deps, scene)
            case Copy():
                return await copy(deps, scene)
            case Compare():
                return await compare_and_switch(deps, scene)
    except (ServiceError, OSError) as e:  # a time-out is an OSError
        log.warning("move.turned_back", phase=scene.move.phase, error=said(e))
        return await _turn_back(deps, scene, said(e))
    except databases.AlreadyThere:
        return await _turn_back(deps, scene, "the server it should go to has a database of its name")


async def _turn_back(deps: Deps, scene: Scene, why: str) -> Operation:
    """From what the rows say now: what failed may have written down first what it was about to do."""
    return await turn_back(deps, present(await look(deps, scene.operation, scene.step)), why)


async def _limits_only(deps: Deps, operation: Operation, step: Step) -> Operation:
    """The plan is in the row; the database's own step sets its limits."""
    database_id = DatabaseId(step.subject_id)
    await database_steps.step(deps, database_id)
    async with deps.db.connection() as conn:
        database = present(await databases.get(conn, database_id))
    if database.limits_tier is database.plan_tier:
        return await progress.record(deps, operation, step.become(StepState.SUCCEEDED, deps.now()))
    if database.status in (Status.RELEASED, Status.PURGED):
        ended = f"the database is {database.status}"
        return await progress.record(deps, operation, step.become(StepState.SKIPPED, deps.now(), ended))
    return await progress.hold(deps, operation, step, database.last_error or "its limits are being set")
