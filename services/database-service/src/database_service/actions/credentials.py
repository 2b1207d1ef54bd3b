"""Read credentials: allowed to few, and always audited."""

from database_service.actions.allocate import refuse_ended
from database_service.actions.rendering import allocation_of
from database_service.deps import Deps
from database_service.domain.answers import Allocation
from database_service.domain.databases import Status
from database_service.domain.errors import DatabaseMoving, DatabaseNotFound, DatabaseNotReady, ServiceError
from database_service.domain.ids import InstanceId, Who
from database_service.store import databases
from database_service.store.pool import Conn


async def credentials(deps: Deps, instance_id: InstanceId, who: Who) -> Allocation:
    """The newest working login. Raises DatabaseNotFound, DatabaseNotReady, DatabaseReleased, DatabaseGone."""
    async with deps.db.connection() as conn:
        seated = await databases.seated_and_noted(conn, instance_id, who, deps.now())
        if seated is None:
            raise await _why_none(conn, instance_id)
    return allocation_of(deps, seated)


async def _why_none(conn: Conn, instance_id: InstanceId) -> ServiceError:
    database = await databases.of_instance(conn, instance_id)
    if database is None:
        return DatabaseNotFound(instance_id)
    refuse_ended(database)
    if database.status is Status.MOVING:
        return DatabaseMoving(instance_id)
    return DatabaseNotReady(instance_id, database.status)
