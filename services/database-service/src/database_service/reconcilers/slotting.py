"""The slots of one server: as many as its row says, never fewer than are in use."""

from collections.abc import Iterable

from database_service.deps import Deps
from database_service.domain import capacity
from database_service.domain.errors import SlotsInUse
from database_service.domain.servers import Server
from database_service.store import slots
from database_service.store.pool import Conn


async def furnish(conn: Conn, deps: Deps, server: Server) -> None:
    """Add the slots that are missing. The server is new, or locked: nobody else adds or removes slots of it meanwhile."""
    present = await slots.lock(conn, server.id)
    missing = capacity.ordinals_to_add(present.keys(), server.max_instances)
    if missing:
        await slots.add(conn, server.id, _ranks(deps, server, missing))


async def clear(conn: Conn, server: Server, wanted: int) -> None:
    """Remove free slots until only `wanted` are left; the server is locked. SlotsInUse where that is not possible.

    Every slot is locked first, which waits for reservations in flight: what is free then stays free until it is removed.
    """
    present = await slots.lock(conn, server.id)
    free = [ordinal for ordinal, database_id in present.items() if database_id is None]
    surplus = capacity.ordinals_to_remove(free, len(present), wanted)
    if surplus is None:
        raise SlotsInUse(server.name, len(present) - len(free), wanted)
    if surplus:
        await slots.remove(conn, server.id, surplus)


def _ranks(deps: Deps, server: Server, ordinals: Iterable[int]) -> dict[int, int]:
    place, priority, seq = deps.policy.placement, server.priority, server.seq
    return {ordinal: capacity.slot_rank(place, priority, seq, ordinal) for ordinal in ordinals}
