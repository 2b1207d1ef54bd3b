"""Try again what an operation did not get done: another one of its kind, on those of its subjects that are left."""

from collections.abc import Sequence
from dataclasses import replace

from database_service.actions import change_servers, moving
from database_service.actions.moving import Journey, terms_of
from database_service.deps import Deps
from database_service.domain.databases import Database
from database_service.domain.databases import Status as DatabaseStatus
from database_service.domain.errors import NothingToRetry, OperationNotFound
from database_service.domain.ids import DatabaseId, OperationId, ServerId, Who
from database_service.domain.moves import Move
from database_service.domain.operations import CAME_TO_NOTHING, ON_SERVERS, Kind, Operation, Step, StepState
from database_service.domain.servers import Status as ServerStatus
from database_service.store import moves, operations, servers
from database_service.store.pool import Conn


async def try_again(deps: Deps, operation_id: OperationId, who: Who) -> Operation:
    """Asked again, the same one: what that one does not get done is tried again from there. Raises OperationNotFound,
    NothingToRetry, and what beginning one of its kind does."""

    async def begin(conn: Conn) -> Operation:
        operation = await _of(conn, operation_id)
        left = [step for step in await operations.steps(conn, operation_id) if step.state is not StepState.SUCCEEDED]
        if operation.kind in ON_SERVERS:
            return await _on_servers(conn, deps, who, operation, left, key)
        return await _on_databases(conn, deps, who, operation, left, key)

    key = f"again:{operation_id}"
    begun = await moving.once(deps, key, begin)
    deps.nudge.operation(begun.id)
    return begun


async def _of(conn: Conn, operation_id: OperationId) -> Operation:
    operation = await operations.get(conn, operation_id)
    if operation is None:
        raise OperationNotFound(operation_id)
    if operation.state not in CAME_TO_NOTHING:
        raise NothingToRetry(
            f"The operation {operation_id} is {operation.state}; one that failed or was cancelled can be tried again."
        )
    if operation.kind is Kind.ROLLBACK:
        raise NothingToRetry("A rollback is asked for again at the operation that it takes back.")
    return operation


async def _on_servers(
    conn: Conn, deps: Deps, who: Who, operation: Operation, left: Sequence[Step], key: str
) -> Operation:
    """The image is looked up anew: it may be why it failed."""
    found = [await servers.get(conn, ServerId(step.subject_id)) for step in left]
    chosen = [server.id for server in found if server and server.status is ServerStatus.ACTIVE]
    _refuse_none(chosen, operation)
    target = replace(operation.target, pinned=None)
    return await change_servers.begin_in(conn, deps, who, operation.kind, chosen, target, key)


async def _on_databases(
    conn: Conn, deps: Deps, who: Who, operation: Operation, left: Sequence[Step], key: str
) -> Operation:
    there = await _locked(conn, left)
    moved = {move.ordinal: move for move in await moves.of_operation(conn, operation.id)}
    journeys = [
        _journey(operation, there[step.subject_id], moved[step.ordinal])
        for step in left
        if step.subject_id in there and step.ordinal in moved
        if there[step.subject_id].server_id == moved[step.ordinal].source_id
    ]
    if journeys:
        return await moving.begin(conn, deps, who, operation.kind, journeys, key)
    stayed = [there[step.subject_id] for step in left if step.subject_id in there and step.ordinal not in moved]
    _refuse_none(stayed, operation)
    return await moving.begin_with(conn, deps, who, operation.kind, stayed, key)


async def _locked(conn: Conn, left: Sequence[Step]) -> dict[object, Database]:
    """Those that are in use, by their id; locked in its order, whatever the order of the steps."""
    found = [await moves.lock(conn, DatabaseId(subject)) for subject in sorted(step.subject_id for step in left)]
    return {each.id: each for each in found if each and each.ask and each.status is DatabaseStatus.READY}


def _journey(operation: Operation, database: Database, moved: Move) -> Journey:
    """To any server that fits: the one that was chosen may be what it failed at."""
    return Journey(database, moved.after if operation.kind is Kind.CHANGE_PLAN else terms_of(database))


def _refuse_none(subjects: Sequence[object], operation: Operation) -> None:
    if not subjects:
        raise NothingToRetry(
            f"Nothing of the operation {operation.id} is left to be done: what it was about is gone, or elsewhere."
        )
