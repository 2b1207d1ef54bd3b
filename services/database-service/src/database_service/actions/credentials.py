"""Read credentials: allowed to few, and always audited."""

from database_service.actions.allocate import ready_one
from database_service.actions.rendering import allocation_of
from database_service.deps import Deps
from database_service.domain.answers import Allocation
from database_service.domain.errors import DatabaseNotReady
from database_service.domain.ids import InstanceId, Who
from database_service.store import databases


async def credentials(deps: Deps, instance_id: InstanceId, who: Who) -> Allocation:
    """The newest working login. Raises DatabaseNotFound, DatabaseNotReady, DatabaseReleased, DatabaseGone."""
    async with deps.db.connection() as conn:
        seated = await databases.seated_and_noted(conn, instance_id, who, deps.now())
        if seated is None:
            without_login = ready_one(instance_id, await databases.of_instance(conn, instance_id))
            raise DatabaseNotReady(instance_id, without_login.status)
    return allocation_of(deps, seated)
