"""How much room there should be: what to order, what to keep ready, and in which order seats are taken."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from database_service.domain.ids import ServerId
from database_service.domain.policy import Placement, Policy


@dataclass(frozen=True, slots=True)
class Room:
    """The shared fleet, counted. `open` servers are active, not cordoned, not unhealthy and not manual."""

    waiting: int
    spares: int
    free: int
    coming: int
    """Slots of servers that are ordered and not active yet."""
    open_servers: int
    servers: int
    """All that are not being removed: the measure for `pools_most`."""
    claims_per_minute: float
    stranded: int = 0
    """Databases that are to leave their server and found no other with room: free slots on their own are none for them."""


def spare_target(room: Room, policy: Policy) -> int:
    """How many spares the fleet should keep: the demand of one horizon, between a few and some on each open server."""
    demand = ceil(room.claims_per_minute * policy.spare_horizon.total_seconds() / 60)
    least, most = policy.spares_least * room.open_servers, policy.spares_most * room.open_servers
    return max(least, min(demand, most))


def spares_to_build(room: Room, policy: Policy) -> int:
    """Refilled by watermark: nothing until half the target is used up, then up to the target, never more than there is room."""
    target = spare_target(room, policy)
    if room.spares * 2 > target:
        return 0
    return max(0, min(target - room.spares, room.free - room.waiting))


def servers_to_order(room: Room, policy: Policy) -> int:
    """`waiting + spare target > free + coming` orders the servers that are missing, once, up to `pools_most`."""
    missing_pools = policy.pools_least - room.servers
    need = room.waiting + spare_target(room, policy) - room.spares - room.free - room.coming
    need = max(need, room.stranded - room.coming)
    wanted = max(ceil(need / policy.pool_slots), missing_pools, 0) if policy.auto_order else max(missing_pools, 0)
    return min(wanted, max(0, policy.pools_most - room.servers))


@dataclass(frozen=True, slots=True)
class Load:
    """One open pool: its slots, how many of them are free, and how many hold a tenant in use."""

    server_id: ServerId
    slots: int
    free: int
    tenants: int


def moves_to_even_out(loads: Sequence[Load], most: int) -> Mapping[ServerId, Sequence[ServerId]]:
    """For each pool that is too full, where each of its surplus tenants goes; `most` moves in all.

    A tenant goes from the pool with the highest share of tenants to that with the lowest, as long as it is not the other way
    round afterwards.
    """
    now = {load.server_id: load for load in loads}
    moves: dict[ServerId, list[ServerId]] = {}
    for _ in range(most):
        fullest = max(now.values(), key=lambda load: load.tenants / load.slots, default=None)
        roomy = [load for load in now.values() if load.free]
        emptiest = min(roomy, key=lambda load: load.tenants / load.slots, default=None)
        if fullest is None or emptiest is None or not _evens_out(fullest, emptiest):
            break
        moves.setdefault(fullest.server_id, []).append(emptiest.server_id)
        now[fullest.server_id] = replace(fullest, tenants=fullest.tenants - 1, free=fullest.free + 1)
        now[emptiest.server_id] = replace(emptiest, tenants=emptiest.tenants + 1, free=emptiest.free - 1)
    return moves


def _evens_out(fullest: Load, emptiest: Load) -> bool:
    return (fullest.tenants - 1) / fullest.slots >= (emptiest.tenants + 1) / emptiest.slots


def slot_rank(placement: Placement, priority: int, seq: int, ordinal: int) -> int:
    """The place of a slot in the order seats are taken: lower first. Priority (-1000..1000, higher first) comes before all.

    spread takes the first slot of every server, then the second; binpack fills server by server. 63 bits: 15 of priority,
    24 for each of the two.
    """
    first, second = (ordinal, seq) if placement is Placement.SPREAD else (seq, ordinal)
    return (1000 - priority) << 48 | (first & 0xFFFFFF) << 24 | (second & 0xFFFFFF)


def ordinals_to_add(present: Collection[int], wanted: int) -> list[int]:
    """The lowest free ordinals that make `wanted` slots of those that are there."""
    missing = max(0, wanted - len(present))
    return [ordinal for ordinal in range(1, wanted + len(present) + 1) if ordinal not in present][:missing]


def ordinals_to_remove(free: Collection[int], present: int, wanted: int) -> list[int] | None:
    """The highest of the free ordinals, so that `wanted` of `present` slots are left. None: more are in use."""
    surplus = max(0, present - wanted)
    return sorted(free, reverse=True)[:surplus] if surplus <= len(free) else None
