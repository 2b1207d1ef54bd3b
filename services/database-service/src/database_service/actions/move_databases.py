"""Move databases between pools: one, all of a pool, or as many as even the pools out. And take a move back."""

from collections.abc import Sequence

from database_service.actions import cordon_server, moving
from database_service.actions.moving import Journey, terms_of
from database_service.deps import Deps
from database_service.domain import capacity
from database_service.domain.databases import Database, Status
from database_service.domain.errors import (
    MoveNotReversible,
    OperationNotFound,
)
from database_service.domain.ids import InstanceId, OperationId, ServerId, Who
from database_service.domain.moves import Move, Terms
from database_service.domain.operations import CAME_TO_NOTHING, OVER, Kind, Operation
from database_service.domain.plans import ServerType
from database_service.store import databases, moves, operations, slots
from database_service.store.pool import Conn

MOST_ROLLBACKS = 100


async def move(
    deps: Deps, instance_id: InstanceId, pool_id: ServerId | None, who: Who, *, request_key: str | None = None
) -> Operation:
    """To this pool, or to any other one with room. The same `request_key` makes one move.

    Raises what `moving.locked` does, DatabaseBusy, DatabaseHasOwnServer, SameServer, ServerNotFound, ServerNotActive, NoRoom.
    """

    async def begin(conn: Conn) -> Operation:
        database = await moving.locked(conn, instance_id)
        moving.refuse_own_server(database)
        if pool_id:
            await moving.refuse_pool(conn, database, pool_id)
        journey = Journey(database, terms_of(database), pool_id)
        return await moving.begin(conn, deps, who, Kind.MOVE, [journey], key)

    key = f"move:{instance_id}:{request_key}" if request_key else None
    operation = await moving.once(deps, key, begin)
    deps.nudge.operation(operation.id)
    return operation


# -- several ----------------------------------------------------------------------------------------------------------


async def drain(deps: Deps, pool_id: ServerId, who: Who, *, request_key: str | None = None) -> Operation:
    """Cordon a pool and move every database that is in use on it elsewhere, one after the other.

    Released ones stay until their grace is over. Raises ServerNotFound, DatabaseBusy.
    """

    async def begin(conn: Conn) -> Operation:
        leaving = [database for database in await databases.lock_all_on(conn, pool_id) if _goes(database)]
        journeys = [Journey(database, terms_of(database)) for database in leaving]
        return await moving.begin(conn, deps, who, Kind.DRAIN, journeys, key)

    key = f"drain:{pool_id}:{request_key}" if request_key else None
    async with deps.db.connection() as conn:
        pool = await moving.pool(conn, pool_id)
    if not pool.cordoned:
        await cordon_server.cordon(deps, pool_id, who, "it is being drained")
    operation = await moving.once(deps, key, begin)
    deps.nudge.operation(operation.id)
    return operation


def _goes(database: Database) -> bool:
    """Also one that just came: it is told where it cannot be moved yet, so that nobody takes the pool for empty."""
    there = database.status in (Status.READY, Status.CREATING) and database.ask is not None
    return there and terms_of(database).server_type is ServerType.SHARED


async def rebalance(deps: Deps, most: int, who: Who, *, request_key: str | None = None) -> Operation:
    """Move databases, `most` at most, from fuller pools to emptier ones, until no move would even them out further.

    Raises DatabaseBusy.
    """

    async def begin(conn: Conn) -> Operation:
        return await moving.begin(conn, deps, who, Kind.REBALANCE, await _evening_out(conn, most), key)

    key = f"rebalance:{request_key}" if request_key else None
    operation = await moving.once(deps, key, begin)
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
    written meanwhile, which is found out on the way. Asked again, the same one, unless that one failed. Raises
    OperationNotFound, MoveNotReversible, DatabaseBusy."""

    async def begin(conn: Conn) -> Operation:
        journeys = [await _back(conn, deps, one) for one in await _to_take_back(conn, operation_id)]
        return await moving.begin(conn, deps, who, Kind.ROLLBACK, journeys, key)

    keys = [f"rollback:{operation_id}:{number}" for number in range(MOST_ROLLBACKS)]
    async with deps.db.connection() as conn:
        tried = await operations.last_of_keys(conn, keys)
    key = _key_meant(keys, tried)
    begun = await moving.once(deps, key, begin)
    deps.nudge.operation(begun.id)
    return begun


def _key_meant(keys: Sequence[str], tried: operations.Keyed | None) -> str:
    """That of the last attempt, or the next one's where that came to nothing."""
    if tried is None:
        return keys[0]
    return keys[min(keys.index(tried.key) + (tried.operation.state in CAME_TO_NOTHING), len(keys) - 1)]


async def _to_take_back(conn: Conn, operation_id: OperationId) -> Sequence[Move]:
    operation = await operations.get(conn, operation_id)
    if operation is None:
        raise OperationNotFound(operation_id)
    if operation.state not in OVER:
        raise MoveNotReversible(f"The operation {operation_id} is {operation.state}; cancel it instead.")
    moved = await moves.last_of(conn, operation_id)
    if not moved:
        raise MoveNotReversible(f"The operation {operation_id} moved nothing that is still where it brought it.")
    return moved


async def _back(conn: Conn, deps: Deps, moved: Move) -> Journey:
    database = await moves.lock(conn, moved.database_id)
    if database is None or database.status is not Status.READY:
        status = database.status if database else "gone"
        raise MoveNotReversible(f"The database of the move is {status}; only one that is ready can go back.")
    if await moves.kept_on(conn, moved.database_id, moved.source_id, deps.now()) is None:
        raise MoveNotReversible(
            f"What the database of instance {database.instance_id!r} left behind is no longer kept."
        )
    return Journey(database, _terms_back(database, moved), moved.source_id, back=True)


def _terms_back(database: Database, moved: Move) -> Terms:
    """Those from before, where the move changed them; else those it has now."""
    terms = terms_of(database)
    if moved.before == moved.after:
        return terms
    if terms != moved.after:
        raise MoveNotReversible(
            f"The plan of instance {database.instance_id!r} was changed since; change it back instead."
        )
    return moved.before
