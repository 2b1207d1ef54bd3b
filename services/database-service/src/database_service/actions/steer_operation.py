"""Pause, resume or cancel an operation: what is in hand is finished first."""

from collections.abc import Callable, Sequence

from database_service.deps import Deps
from database_service.domain.errors import OperationNotFound
from database_service.domain.ids import OperationId, Who
from database_service.domain.operations import Operation, Step, Wish, resumed, wished
from database_service.reconcilers.progress import become_in
from database_service.store import events, operations
from database_service.store.pool import Conn

Steer = Callable[[Operation, Sequence[Step]], Operation]


async def pause(deps: Deps, operation_id: OperationId, who: Who) -> Operation:
    """At rest between two servers until it is resumed. Raises OperationNotFound, OperationOver."""
    return await _steer(
        deps, operation_id, who, lambda operation, steps: wished(operation, steps, Wish.PAUSE, deps.now())
    )


async def cancel(deps: Deps, operation_id: OperationId, who: Who) -> Operation:
    """No further server; what is done stays. Raises as `pause`."""
    return await _steer(
        deps, operation_id, who, lambda operation, steps: wished(operation, steps, Wish.CANCEL, deps.now())
    )


async def resume(deps: Deps, operation_id: OperationId, who: Who) -> Operation:
    """Raises as `pause`."""
    return await _steer(deps, operation_id, who, lambda operation, _: resumed(operation, deps.now()))


async def _steer(deps: Deps, operation_id: OperationId, who: Who, steer: Steer) -> Operation:
    async with deps.db.transaction() as conn:
        operation = await operations.lock(conn, operation_id)
        if operation is None:
            raise OperationNotFound(operation_id)
        steered = steer(operation, await operations.steps(conn, operation_id))
        if steered == operation:
            return operation
        saved = await _save(conn, deps, operation, steered, who)
    deps.nudge.operation(operation_id)
    return saved


async def _save(conn: Conn, deps: Deps, before: Operation, after: Operation, who: Who) -> Operation:
    if after.state is not before.state:
        return await become_in(conn, deps, before, after, who)
    await events.append(
        conn, at=deps.now(), who=who, action="operation.wish_changed", subject="operation", subject_id=after.id,
        before=before.state, after=after.state, why=after.wish or "go on",
    )  # fmt: skip
    await operations.set_wish(conn, after.id, after.wish)
    return after
