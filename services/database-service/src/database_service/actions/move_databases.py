"""Move databases between pools: one, all of a pool, or as many as even the pools out. And take a move back."""

from collections.abc import Sequence

from database_service.actions import cordon_server, moving
from database_service.actions.moving import Journey, terms_of
from database_service.deps import Deps
from database_service.domain import capacity
from database_service.domain.databases import Database, Status
from database_service.domain.errors import (
    DatabaseHasOwnServer,
    MoveNotReversible,
    NoRoom,
    OperationNotFound,
    SameServer,
    ServerNotActive,
    ServerNotFound,
)
from database_service.domain.ids import InstanceId, OperationId, ServerId, Who
from database_service.domain.moves import Move
from database_service.domain.operations import OVER, Kind, Operation
from database_service.domain.plans import ServerType
from database_service.domain.servers import Server
from database_service.domain.servers import Status as ServerStatus
from database_service.store import databases, moves, operations, servers, slots
from database_service.store.pool import Conn


async def move(
    deps: Deps, instance_id: InstanceId, pool_id: ServerId | None, who: Who, *, request_key: str | None = None
) -> Operation:
    """To this pool, or to any other one with room. The same `request_key` makes one move.

    Raises what `moving.locked` does, DatabaseBusy, DatabaseHasOwnServer, SameServer, ServerNotFound, ServerNotActive, NoRoom.
    """
    key = f"move:{instance_id}:{request_key}" if request_key else None
    async with deps.db.transaction() as conn:
        if key and (asked_before := await operations.by_request_key(conn, key)):
            return asked_before
        database = await moving.locked(conn, instance_id)
        _refuse_own_server(database)
        if pool_id:
            await _refuse_pool(conn, database, pool_id)
        journey = Journey(database, terms_of(database), pool_id)
        operation = await moving.begin(conn, deps, who, Kind.MOVE, [journey], key)
    deps.nudge.operation(operation.id)
    return operation


def _refuse_own_server(database: Database) -> None:
    if terms_of(database).server_type is not ServerType.SHARED:
        raise DatabaseHasOwnServer(database.instance_id or "")


async def _refuse_pool(conn: Conn, database: Database, pool_id: ServerId) -> None:
    pool = await _pool(conn, pool_id)
    if pool_id == database.server_id:
        raise SameServer(database.instance_id or "", pool.name)
    if pool.status is not ServerStatus.ACTIVE:
        raise ServerNotActive(pool.name, pool.status)
    if pool.server_type is not ServerType.SHARED or not await slots.has_free(conn, pool_id):
        raise NoRoom(pool.name)


async def _pool(conn: Conn, pool_id: ServerId) -> Server:
    pool = await servers.get(conn, pool_id)
    if pool is None or pool.status is ServerStatus.GONE:
        raise ServerNotFound(pool_id)
    return pool


# -- several ----------------------------------------------------------------------------------------------------------


async def drain(deps: Deps, pool_id: ServerId, who: Who, *, request_key: str | None = None) -> Operation:
    """Cordon a pool and move every database that is in use on it elsewhere, one after the other.

    Released ones stay until their grace is over. Raises ServerNotFound, DatabaseBusy.
    """
    key = f"drain:{pool_id}:{request_key}" if request_key else None
    async with deps.db.connection() as conn:
        asked_before = await operations.by_request_key(conn, key) if key else None
        pool = await _pool(conn, pool_id)
    if asked_before:
        return asked_before
    if not pool.cordoned:
        await cordon_server.cordon(deps, pool_id, who, "it is being drained")
    async with deps.db.transaction() as conn:
        leaving = [database for database in await databases.lock_all_on(conn, pool_id) if _goes(database)]
        journeys = [Journey(database, terms_of(database)) for database in leaving]
        operation = await moving.begin(conn, deps, who, Kind.DRAIN, journeys, key)
    deps.nudge.operation(operation.id)
    return operation


def _goes(database: Database) -> bool:
    return database.status is Status.READY and terms_of(database).server_type is ServerType.SHARED


async def rebalance(deps: Deps, most: int, who: Who, *, request_key: str | None = None) -> Operation:
    """Move databases, `most` at most, from fuller pools to emptier ones, until no move would even them out further.

    Raises DatabaseBusy.
    """
    key = f"rebalance:{request_key}" if request_key else None
    async with deps.db.transaction() as conn:
        if key and (asked_before := await operations.by_request_key(conn, key)):
            return asked_before
        journeys = await _evening_out(conn, most)
        operation = await moving.begin(conn, deps, who, Kind.REBALANCE, journeys, key)
    deps.nudge.operation(operation.id)
    return operation


async def _evening_out(conn: Conn, most: int) -> Sequence[Journey]:
    """The newest of a pool go first: they are likely to be small, and nobody has got used to where they are."""
    journeys: list[Journey] = []
    for source, targets in capacity.moves_to_even_out(await slots.loads(conn), most).items():
        newest = await databases.lock_newest_on(conn, source, len(targets))
        journeys += [Journey(d, terms_of(d), target) for d, target in zip(newest, targets, strict=False)]
    return journeys


# -- back -------------------------------------------------------------------------------------------------------------


async def roll_back(deps: Deps, operation_id: OperationId, who: Who) -> Operation:
    """Take back what an operation moved and nothing has moved since: to the server that still keeps it, if nothing was
    written meanwhile, which is found out on the way. Asked again, the same one. Raises OperationNotFound, MoveNotReversible,
    DatabaseBusy."""
    key = f"rollback:{operation_id}"
    async with deps.db.transaction() as conn:
        if asked_before := await operations.by_request_key(conn, key):
            return asked_before
        operation = await operations.get(conn, operation_id)
        if operation is None:
            raise OperationNotFound(operation_id)
        if operation.state not in OVER:
            raise MoveNotReversible(f"The operation {operation_id} is {operation.state}; cancel it instead.")
        moved = await moves.last_of(conn, operation_id)
        if not moved:
            raise MoveNotReversible(f"The operation {operation_id} moved nothing that is still where it brought it.")
        journeys = [await _back(conn, deps, one) for one in moved]
        begun = await moving.begin(conn, deps, who, Kind.ROLLBACK, journeys, key)
    deps.nudge.operation(begun.id)
    return begun


async def _back(conn: Conn, deps: Deps, moved: Move) -> Journey:
    database = await moves.lock(conn, moved.database_id)
    if database is None or database.status is not Status.READY:
        status = database.status if database else "gone"
        raise MoveNotReversible(f"The database of the move is {status}; only one that is ready can go back.")
    if await moves.kept_on(conn, moved.database_id, moved.source_id, deps.now()) is None:
        raise MoveNotReversible(
            f"What the database of instance {database.instance_id!r} left behind is no longer kept."
        )
    return Journey(database, moved.before, moved.source_id, back=True)
