"""Hold a request until its operation rests, or time is up."""

from datetime import timedelta

from database_service.actions.await_database import until
from database_service.deps import Deps
from database_service.domain.ids import OperationId
from database_service.domain.operations import AT_REST
from database_service.store import operations
from database_service.store.changes import OPERATION_CHANGED


async def wait_for(deps: Deps, operation_id: OperationId, wait: timedelta) -> None:
    """Returns when it is over or paused (or not there), or after `wait` (at most the policy's)."""

    async def at_rest() -> bool:
        async with deps.db.connection() as conn:
            operation = await operations.get(conn, operation_id)
        return operation is None or operation.state in AT_REST

    await until(deps, OPERATION_CHANGED, str(operation_id), wait, at_rest)
