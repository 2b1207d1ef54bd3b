"""Room: what is ordered, what is built ahead, and in which order seats are taken."""

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from database_service.domain.capacity import (
    Load,
    Room,
    moves_to_even_out,
    servers_to_order,
    slot_rank,
    spare_target,
    spares_to_build,
)
from database_service.domain.ids import ServerId
from database_service.domain.policy import Placement, Policy

POLICY = Policy(spares_least=2, pool_slots=50)
QUIET = Room(waiting=0, spares=2, free=48, coming=0, open_servers=1, servers=1, claims_per_minute=0)
NONE = Room(0, 0, 0, 0, 0, 0, 0)

rooms = st.builds(
    Room, waiting=st.integers(0, 5000), spares=st.integers(0, 500), free=st.integers(0, 5000), coming=st.integers(0, 5000),
    open_servers=st.integers(0, 100), servers=st.integers(0, 300),
    claims_per_minute=st.floats(0, 1000),
)  # fmt: skip


def test_a_fleet_with_room_orders_nothing() -> None:
    assert servers_to_order(QUIET, POLICY) == 0


def test_a_thousand_waiting_callers_order_twenty_pools() -> None:
    assert servers_to_order(replace(NONE, waiting=1000), POLICY) == 20


@given(rooms)
def test_what_is_ordered_once_is_not_ordered_again(room: Room) -> None:
    ordered = servers_to_order(room, POLICY)
    after = replace(room, coming=room.coming + ordered * POLICY.pool_slots, servers=room.servers + ordered)
    assert servers_to_order(after, POLICY) == 0


@given(rooms)
def test_the_most_pools_is_a_limit(room: Room) -> None:
    policy = replace(POLICY, pools_most=5)
    assert room.servers + servers_to_order(room, policy) <= max(5, room.servers)


@given(rooms)
def test_spares_never_take_the_room_of_those_who_wait(room: Room) -> None:
    assert spares_to_build(room, POLICY) <= max(0, room.free - room.waiting)


def test_spares_are_refilled_when_half_are_used_and_up_to_the_target() -> None:
    room = replace(QUIET, open_servers=5, spares=6)
    assert spares_to_build(room, POLICY) == 0
    assert spares_to_build(replace(room, spares=5), POLICY) == spare_target(room, POLICY) - 5


def test_measured_demand_raises_the_target() -> None:
    assert spare_target(replace(QUIET, claims_per_minute=1), POLICY) == 5
    assert spare_target(replace(QUIET, claims_per_minute=1000), POLICY) == POLICY.spares_most


def test_spread_takes_the_first_slot_of_every_server_first() -> None:
    ranked = sorted((slot_rank(Placement.SPREAD, 0, seq, n), seq, n) for seq in (1, 2) for n in (1, 2))
    assert [(seq, n) for _, seq, n in ranked] == [(1, 1), (2, 1), (1, 2), (2, 2)]


def test_binpack_fills_server_by_server() -> None:
    ranked = sorted((slot_rank(Placement.BINPACK, 0, seq, n), seq, n) for seq in (1, 2) for n in (1, 2))
    assert [(seq, n) for _, seq, n in ranked] == [(1, 1), (1, 2), (2, 1), (2, 2)]


@given(st.sampled_from(Placement), st.integers(-1000, 1000), st.integers(1, 2**24 - 1), st.integers(1, 10000))
def test_ranks_fit_a_bigint_and_priority_comes_first(
    placement: Placement, priority: int, seq: int, ordinal: int
) -> None:
    rank = slot_rank(placement, priority, seq, ordinal)
    assert 0 <= rank < 2**63
    if priority < 1000:
        assert slot_rank(placement, priority + 1, 2**24 - 1, 10000) < rank


# -- evening out ------------------------------------------------------------------------------------------------------

LOADS = st.lists(
    st.integers(1, 20).flatmap(lambda slots: st.tuples(st.just(slots), st.integers(0, slots))), min_size=0, max_size=6
)


def loads(*pools: tuple[int, int]) -> list[Load]:
    return [
        Load(ServerId(UUID(int=number)), slots, slots - tenants, tenants)
        for number, (slots, tenants) in enumerate(pools, start=1)
    ]


def test_from_the_fullest_pool_to_the_emptiest_until_it_would_be_the_other_way_round() -> None:
    first, second = (load.server_id for load in loads((10, 8), (10, 2)))
    assert moves_to_even_out(loads((10, 8), (10, 2)), 100) == {first: [second] * 3}
    assert moves_to_even_out(loads((10, 8), (10, 2)), 1) == {first: [second]}
    assert moves_to_even_out(loads((10, 5), (10, 4)), 100) == {}
    assert moves_to_even_out([], 100) == {}


@given(LOADS, st.integers(0, 50))
def test_evening_out_puts_nothing_where_no_room_is_and_leaves_no_pool_fuller_than_the_fullest(
    pools: list[tuple[int, int]], most: int
) -> None:
    before = loads(*pools)
    moves = moves_to_even_out(before, most)
    after = {load.server_id: load.tenants for load in before}
    for source, targets in moves.items():
        for target in targets:
            after[source] -= 1
            after[target] += 1
    slots = {load.server_id: load.slots for load in before}
    assert sum(map(len, moves.values())) <= most
    assert all(0 <= after[server] <= slots[server] for server in after)
    if moves:
        assert max(after[s] / slots[s] for s in after) <= max(load.tenants / load.slots for load in before)
