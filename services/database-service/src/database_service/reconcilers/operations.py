"""One step for one operation: look at its rows, make its one next move, record it fenced. What a move does, each kind knows."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import structlog

from database_service.deps import Deps
from database_service.domain.errors import ServiceError
from database_service.domain.ids import OperationId
from database_service.domain.operations import (
    Become,
    Begin,
    Carry,
    Kind,
    Move,
    Operation,
    Prepare,
    Rest,
    State,
    Step,
    Target,
    decide,
)
from database_service.reconcilers import moves, progress, rollouts, rotations
from database_service.reconcilers.leasing import LostLease, give_back, new_token, said, timed
from database_service.store import operations

log = structlog.get_logger(__name__)

SOON = timedelta(seconds=1)
PREPARED_WITHIN = timedelta(minutes=15)
"""An image may take longer than one look; it goes on coming meanwhile."""


class Work(Protocol):
    """What a kind of operation does. Each may be cut off anywhere and is repeated from its rows."""

    async def prepare(self, deps: Deps, operation: Operation, steps: Sequence[Step]) -> Target:
        """The target with what had to be found out. A ServiceError refuses the operation; no subject was touched."""
        ...

    async def begin(self, deps: Deps, operation: Operation, step: Step) -> Operation:
        """Store what is to become of the subject, and what it was, in one transaction. Raises LostLease."""
        ...

    async def carry(self, deps: Deps, operation: Operation, step: Step) -> Operation:
        """One effect, or one look, towards the end of the step. Raises LostLease."""
        ...


WORK: Mapping[Kind, Work] = {
    Kind.ROLLOUT: rollouts.Rollout(),
    Kind.ROTATE_ADMIN_PASSWORD: rotations.Rotation(),
    **dict.fromkeys((Kind.CHANGE_PLAN, Kind.MOVE, Kind.DRAIN, Kind.REBALANCE, Kind.ROLLBACK), moves.Moves()),
}


async def step(deps: Deps, operation_id: OperationId) -> Operation | None:
    """One move under a lease of its own. None: nothing is due, or somebody else is at it."""
    token = new_token()
    async with deps.db.connection() as conn:
        operation = await operations.claim(conn, operation_id, deps.now(), deps.policy.lease, token)
        steps = await operations.steps(conn, operation_id)
    if operation is None:
        return None
    with structlog.contextvars.bound_contextvars(operation_id=str(operation_id)):
        try:
            return await _carry_on(deps, operation, steps)
        except LostLease:
            log.info("operation.changed_meanwhile")
            await give_back(deps, "operations", operation_id, token)
            return operation


async def settle(deps: Deps, operation_id: OperationId, patience: timedelta) -> None:
    """Move after move while there is one to make soon; at most `patience`. One that goes on after that is nudged again."""
    until = deps.now() + patience
    while (pause := await _pause(deps, operation_id)) is not None and pause <= SOON:
        if deps.now() >= until:
            deps.nudge.operation(operation_id)
            return
        await asyncio.sleep(max(pause.total_seconds(), 0))  # noqa: TID251  a change is watched closely, and not for long
        if await step(deps, operation_id) is None:
            return


async def _pause(deps: Deps, operation_id: OperationId) -> timedelta | None:
    """How long until there is something to do; None: never."""
    async with deps.db.connection() as conn:
        operation = await operations.get(conn, operation_id)
    return operation.due_at - deps.now() if operation and operation.due_at else None


async def _carry_on(deps: Deps, operation: Operation, steps: Sequence[Step]) -> Operation:
    with timed("operation") as came_out:
        move = decide(operation, steps)
        moved = await _make(deps, operation, steps, move)
        came_out(type(move).__name__.lower())
    if moved.state is not operation.state:
        tell = log.warning if moved.state is State.FAILED else log.info
        tell("operation.became", kind=moved.kind, state=moved.state, was=operation.state, error=moved.last_error)
    return moved


async def _make(deps: Deps, operation: Operation, steps: Sequence[Step], move: Move) -> Operation:
    work = WORK[operation.kind]
    match move:
        case Prepare():
            return await _prepare(deps, work, operation, steps)
        case Begin(begun):
            return await work.begin(deps, operation, begun)
        case Carry(carried):
            return await work.carry(deps, operation, carried)
        case Become(state, why):
            return await progress.become(deps, operation, state, why)
        case Rest():
            return operation


async def _prepare(deps: Deps, work: Work, operation: Operation, steps: Sequence[Step]) -> Operation:
    try:
        async with asyncio.timeout(deps.policy.effect_timeout.total_seconds()):
            target = await work.prepare(deps, operation, steps)
    except TimeoutError as e:
        if deps.now() - operation.created_at < PREPARED_WITHIN:
            return await progress.put_off(deps, operation, f"what it needs is still being fetched: {said(e)}")
        return await progress.become(deps, operation, State.FAILED, said(e))
    except ServiceError as e:
        return await progress.become(deps, operation, State.FAILED, said(e))
    return await progress.become(deps, replace(operation, target=target), State.RUNNING)
