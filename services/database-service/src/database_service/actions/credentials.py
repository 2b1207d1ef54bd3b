"""Read credentials: allowed to few, and always audited."""

from database_service.actions.allocate import refuse_ended
from database_service.actions.rendering import allocation_of
from database_service.deps import Deps
from database_service.domain.answers import Allocation
from database_service.domain.databases import Status
from database_service.domain.errors import DatabaseMoving, DatabaseNotFound, DatabaseNotReady
from database_service.domain.ids import InstanceId, Who
from database_service.store import databases, events


async def credentials(deps: Deps, instance_id: InstanceId, who: Who) -> Allocation:
    """The newest working login. Raises DatabaseNotFound, DatabaseNotReady, DatabaseReleased, DatabaseGone."""
    async with deps.db.transaction() as conn:
        seated = await databases.seated(conn, instance_id)
        if seated is None:
            database = await databases.of_instance(conn, instance_id)
            if database is None:
                raise DatabaseNotFound(instance_id)
            refuse_ended(database)
            if database.status is Status.MOVING:
                raise DatabaseMoving(instance_id)
            raise DatabaseNotReady(instance_id, database.status)
        await events.append(
            conn, at=deps.now(), who=who, action="database.credentials_read", subject="database",
            subject_id=seated.database.id, instance_id=instance_id, why=seated.login.role,
        )  # fmt: skip
    return allocation_of(deps, seated)
