"""Rows into answers: the one place where a sealed password is opened for a caller."""

from datetime import timedelta

from database_service.deps import Deps
from database_service.domain.answers import Allocation, Pending
from database_service.domain.databases import Database, Status
from database_service.domain.ids import InstanceId
from database_service.store.databases import Seated

SAID = {
    Status.WAITING: "There is no free room; a server is being made.",
    Status.CREATING: "The database is being made.",
    Status.READY: "The database is ready.",
    Status.MOVING: "The database is being moved to another server.",
}


def allocation_of(deps: Deps, seated: Seated) -> Allocation:
    database = seated.database
    if database.server_id is None:
        raise LookupError(f"database {database.id} is ready and has no server")
    return Allocation(
        database=database,
        server_id=database.server_id,
        server_name=seated.server_name,
        server_type=seated.server_type,
        address=seated.address,
        login=seated.login,
        password=deps.secrets.open(seated.login.password_sealed, seated.login.id),
        roots=seated.roots,
    )


def pending_of(deps: Deps, database: Database, retry_after: timedelta | None = None) -> Pending:
    said = SAID.get(database.status, f"The database is {database.status}.")
    if database.status is Status.WAITING and database.ask and database.ask.database_name:
        said = f"No server has room for a database of the name {database.ask.database_name!r}; one is waited for."
    return Pending(
        instance_id=database.instance_id or InstanceId(""),
        status=database.status,
        retry_after=retry_after or deps.policy.retry_after,
        message=f"{said} Last problem: {database.last_error}" if database.last_error else said,
        server_id=database.server_id,
    )
