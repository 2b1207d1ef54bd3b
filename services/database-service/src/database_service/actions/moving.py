"""What every verb that moves databases shares: the operation with a step and a move for each, stored at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from database_service.actions.allocate import refuse_ended
from database_service.deps import Deps
from database_service.domain import naming
from database_service.domain.databases import Database, Status
from database_service.domain.errors import (
    DatabaseBusy,
    DatabaseMoving,
    DatabaseNotFound,
    DatabaseNotReady,
)
from database_service.domain.ids import InstanceId, OperationId, ServerId, Who
from database_service.domain.moves import Terms
from database_service.domain.operations import Kind, Operation, Target
from database_service.secretbox import new_password, random_name_bytes
from database_service.store import databases, events, moves, operations
from database_service.store.pool import Conn


@dataclass(frozen=True, slots=True)
class Journey:
    """A database, and where it is to go: to this server, or to any that fits."""

    database: Database
    after: Terms
    target_id: ServerId | None = None
    back: bool = False


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
        raise LookupError(f"the request key {key!r} was looked for before")
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


def terms_of(database: Database) -> Terms:
    ask = database.ask
    if ask is None:
        raise LookupError(f"database {database.id} is nobody's")
    return Terms(database.plan_tier, ask.server_type, ask.require_dedicated)


def source_of(database: Database) -> ServerId:
    if database.server_id is None:
        raise LookupError(f"database {database.id} is ready and has no server")
    return database.server_id
