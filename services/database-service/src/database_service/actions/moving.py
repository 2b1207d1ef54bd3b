"""What every verb that moves databases shares: the operation with a step and a move for each, stored at once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from database_service.actions.allocate import refuse_ended
from database_service.deps import Deps
from database_service.domain import naming
from database_service.domain.databases import Database, Status
from database_service.domain.errors import (
    DatabaseBusy,
    DatabaseHasOwnServer,
    DatabaseMoving,
    DatabaseNotFound,
    DatabaseNotReady,
    NoRoom,
    SameServer,
    ServerNotActive,
    ServerNotFound,
)
from database_service.domain.ids import InstanceId, OperationId, ServerId, Who
from database_service.domain.moves import Terms
from database_service.domain.operations import Kind, Operation, Target
from database_service.domain.plans import ServerType
from database_service.domain.servers import Server
from database_service.domain.servers import Status as ServerStatus
from database_service.secretbox import new_password, random_name_bytes
from database_service.store import databases, events, moves, operations, servers, slots
from database_service.store.pool import Conn


@dataclass(frozen=True, slots=True)
class Journey:
    """A database, and where it is to go: to this server, or to any that fits."""

    database: Database
    after: Terms
    target_id: ServerId | None = None
    back: bool = False


async def once(deps: Deps, key: str | None, begin: Callable[[Conn], Awaitable[Operation]]) -> Operation:
    """What `begin` makes in a transaction; asked again with this key, also at the same moment, the one that is there."""
    try:
        async with deps.db.transaction() as conn:
            return await _asked_before(conn, key) or await begin(conn)
    except AskedMeanwhile:
        async with deps.db.connection() as conn:
            found = await _asked_before(conn, key)
    if found is None:
        raise LookupError(f"an operation with the key {key!r} was there a moment ago")
    return found


async def _asked_before(conn: Conn, key: str | None) -> Operation | None:
    return await operations.by_request_key(conn, key) if key else None


class AskedMeanwhile(Exception):
    """Another request with this key was first."""


async def begin(
    conn: Conn, deps: Deps, who: Who, kind: Kind, journeys: Sequence[Journey], key: str | None
) -> Operation:
    """For databases that are locked. Raises DatabaseBusy where another operation has one of them."""
    operation = await begin_with(conn, deps, who, kind, [journey.database for journey in journeys], key)
    for ordinal, journey in enumerate(journeys, start=1):
        mover, database = naming.mover_role(random_name_bytes()), journey.database
        await moves.insert(
            conn, operation_id=operation.id, ordinal=ordinal, database=database, source_id=source_of(database),
            target_id=journey.target_id, before=terms_of(database), after=journey.after, back=journey.back,
            mover_role=mover, mover_password_sealed=deps.secrets.seal(new_password(), mover), now=deps.now(),
        )  # fmt: skip
    return operation


async def begin_with(
    conn: Conn, deps: Deps, who: Who, kind: Kind, subjects: Sequence[Database], key: str | None
) -> Operation:
    """An operation with a step for each of these databases. Raises DatabaseBusy."""
    operation = await operations.insert(
        conn, operation_id=OperationId(uuid4()), kind=kind, target=Target(), created_by=who.actor, request_key=key,
        now=deps.now(),
    )  # fmt: skip
    if operation is None:
        raise AskedMeanwhile
    named: Mapping[UUID, str] = {database.id: database.instance_id or database.name for database in subjects}
    for busy in await operations.insert_steps(conn, operation.id, named, deps.now()):
        raise DatabaseBusy(named[busy], await operations.holder(conn, busy))
    await events.append(
        conn, at=deps.now(), who=who, action="operation.asked_for", subject="operation", subject_id=operation.id,
        after=operation.state, why=f"{kind} of {len(named)} database(s)",
    )  # fmt: skip
    return operation


async def locked(conn: Conn, instance_id: InstanceId) -> Database:
    """A database that can be moved, locked. Raises DatabaseNotFound, DatabaseReleased, DatabaseGone, DatabaseMoving,
    DatabaseNotReady."""
    database = await databases.lock_of_instance(conn, instance_id)
    if database is None:
        raise DatabaseNotFound(instance_id)
    refuse_unready(database)
    return database


def refuse_unready(database: Database) -> None:
    """Raises DatabaseReleased, DatabaseGone, DatabaseMoving, DatabaseNotReady."""
    refuse_ended(database)
    instance = database.instance_id or ""
    if database.status is Status.MOVING:
        raise DatabaseMoving(instance)
    if database.status is not Status.READY:
        raise DatabaseNotReady(instance, database.status)


def refuse_own_server(database: Database) -> None:
    """Raises DatabaseHasOwnServer."""
    if terms_of(database).server_type is not ServerType.SHARED:
        raise DatabaseHasOwnServer(database.instance_id or "")


async def refuse_pool(conn: Conn, database: Database, pool_id: ServerId) -> None:
    """Raises SameServer, ServerNotFound, ServerNotActive, NoRoom."""
    target = await pool(conn, pool_id)
    if pool_id == database.server_id:
        raise SameServer(database.instance_id or "", target.name)
    if target.status is not ServerStatus.ACTIVE:
        raise ServerNotActive(target.name, target.status)
    room = await moves.kept_by(conn, database.id, pool_id) or await slots.has_free(conn, pool_id)
    if target.server_type is not ServerType.SHARED or target.cordoned or not room:
        raise NoRoom(target.name)


async def pool(conn: Conn, pool_id: ServerId) -> Server:
    """Raises ServerNotFound."""
    found = await servers.get(conn, pool_id)
    if found is None or found.status is ServerStatus.GONE:
        raise ServerNotFound(pool_id)
    return found


def terms_of(database: Database) -> Terms:
    ask = database.ask
    if ask is None:
        raise LookupError(f"database {database.id} is nobody's")
    return Terms(database.plan_tier, ask.server_type, ask.require_dedicated)


def source_of(database: Database) -> ServerId:
    if database.server_id is None:
        raise LookupError(f"database {database.id} is ready and has no server")
    return database.server_id
