"""Moves: the one next thing to do, and that none of them goes on for ever."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database_service.domain.databases import Database
from database_service.domain.databases import Status as DatabaseStatus
from database_service.domain.ids import DatabaseId, OperationId, ServerId
from database_service.domain.moves import (
    BEFORE_SWITCH,
    CANCELLED,
    SHUT,
    TRANSITIONS,
    AwaitOpen,
    Compare,
    Copy,
    Fence,
    Hold,
    Move,
    Phase,
    Rest,
    Sight,
    Survey,
    TakeSeat,
    Terms,
    Tidy,
    TurnBack,
    decide,
    estimated_downtime,
)
from database_service.domain.plans import ServerType, Tier
from database_service.domain.policy import Policy
from database_service.domain.servers import Health, Server
from database_service.domain.servers import Status as ServerStatus
from domain.test_servers import server

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy()
SOURCE, TARGET = ServerId(UUID(int=1)), ServerId(UUID(int=2))
D, TWIN = DatabaseId(UUID(int=3)), DatabaseId(UUID(int=4))
FREE, PREMIUM = Terms(Tier.FREE, ServerType.SHARED), Terms(Tier.PREMIUM, ServerType.DEDICATED)


def move(phase: Phase, **changes: object) -> Move:
    whole = Move(
        operation_id=OperationId(UUID(int=5)), ordinal=1, database_id=D, source_id=SOURCE, target_id=TARGET, twin_id=TWIN,
        before=FREE, after=PREMIUM, back=False, phase=phase, phase_since=NOW, attempt=0, tries=0, stale=(), mover_role="m_x",
        mover_password_sealed=b"", size_bytes=None, fraction=None, kept_until=None, fenced_at=None, switched_at=None,
        opened_at=None, undone_why=None,
    )  # fmt: skip
    return replace(whole, **changes)  # type: ignore[arg-type]


def database(status: DatabaseStatus, on: ServerId = SOURCE, last_error: str | None = None) -> Database:
    return Database(
        id=D, status=status, status_since=NOW, ask=None, plan_tier=Tier.FREE, limits_tier=Tier.FREE, template="default",
        server_id=on, name="db", physical_name="db", owner_role="own", protected=False, purge_after=None, due_at=None,
        version=1, attempts=0, last_error=last_error, created_at=NOW, ready_at=NOW, released_at=None,
    )  # fmt: skip


def target(status: ServerStatus = ServerStatus.ACTIVE, health: Health = Health.HEALTHY, **changes: object) -> Server:
    return replace(server(status), health=health, name="pool-b", **changes)  # type: ignore[arg-type]


def sight(phase: Phase, **changes: object) -> Sight:
    """All as it should be in this phase."""
    status = DatabaseStatus.MOVING if phase in SHUT else DatabaseStatus.READY
    whole = Sight(database(status), target(), database(DatabaseStatus.LANDING, TARGET), cancelled=False)
    return replace(whole, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("phase", "following"),
    [
        (Phase.SEATING, Survey()),
        (Phase.FENCING, Fence()),
        (Phase.COPYING, Copy()),
        (Phase.VERIFYING, Compare()),
        (Phase.OPENING, Tidy()),
        (Phase.REOPENING, Tidy()),
        (Phase.TIDYING, Tidy()),
        (Phase.DONE, Rest()),
        (Phase.UNDONE, Rest()),
    ],
)
def test_where_all_is_well_it_goes_on(phase: Phase, following: object) -> None:
    assert decide(move(phase), sight(phase), NOW, POLICY) == following


def test_without_a_seat_it_looks_for_one() -> None:
    unseated = move(Phase.SEATING, twin_id=None, target_id=None)
    assert decide(unseated, sight(Phase.SEATING, twin=None, target=None), NOW, POLICY) == TakeSeat()


@pytest.mark.parametrize(
    "there",
    [
        target(ServerStatus.PROVISIONING),
        target(ServerStatus.INITIALIZING),
        target(health=Health.UNHEALTHY),
    ],
)
def test_nobody_is_shut_out_before_the_target_is_well(there: Server) -> None:
    assert isinstance(decide(move(Phase.SEATING), sight(Phase.SEATING, target=there), NOW, POLICY), Hold)


@pytest.mark.parametrize("phase", sorted(BEFORE_SWITCH))
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cancelled": True}, CANCELLED),
        ({"database": database(DatabaseStatus.RELEASING)}, "the database is releasing"),
        ({"twin": None}, "its place on the other server was taken away"),
        ({"twin": database(DatabaseStatus.PURGED)}, "its place on the other server was taken away"),
        ({"target": target(ServerStatus.ERROR, last_error="no memory")}, "the server pool-b is error: no memory"),
        ({"target": target(cordoned=True)}, "the server pool-b is cordoned"),
        ({"target": target(ServerStatus.DEPROVISIONING)}, "the server pool-b is deprovisioning"),
    ],
)
def test_whatever_is_amiss_before_the_switch_turns_it_back(phase: Phase, changes: dict[str, object], why: str) -> None:
    assert decide(move(phase), sight(phase, **changes), NOW, POLICY) == TurnBack(why)


@pytest.mark.parametrize("phase", sorted(set(Phase) - BEFORE_SWITCH))
def test_after_the_switch_nothing_turns_it_back(phase: Phase) -> None:
    amiss = sight(phase, cancelled=True, twin=None, target=target(ServerStatus.ERROR))
    assert not isinstance(decide(move(phase), amiss, NOW, POLICY), TurnBack)


def test_a_copy_that_is_cut_off_again_and_again_is_given_up() -> None:
    tried = move(Phase.COPYING, tries=POLICY.move_attempts)
    assert decide(tried, sight(Phase.COPYING), NOW, POLICY) == TurnBack("it was cut off 3 times while copying")
    assert decide(tried.become(Phase.VERIFYING, NOW), sight(Phase.VERIFYING), NOW, POLICY) == Compare()
    seating = move(Phase.SEATING, twin_id=None, target_id=None, tries=100)
    assert decide(seating, sight(Phase.SEATING, twin=None, target=None), NOW, POLICY) == TakeSeat()


def test_who_waits_for_room_too_long_stays() -> None:
    late = NOW + POLICY.move_seat_timeout + timedelta(seconds=1)
    assert isinstance(decide(move(Phase.SEATING), sight(Phase.SEATING), late, POLICY), TurnBack)


@pytest.mark.parametrize("phase", [Phase.OPENING, Phase.REOPENING])
def test_the_door_is_waited_for_but_not_for_ever(phase: Phase) -> None:
    shut = sight(phase, database=database(DatabaseStatus.CREATING, last_error="it is down"))
    assert decide(move(phase), shut, NOW, POLICY) == AwaitOpen()
    late = NOW + POLICY.move_open_timeout + timedelta(seconds=1)
    assert decide(move(phase), shut, late, POLICY) == Tidy("its door is not open yet: it is down")


MOMENTS = st.builds(
    Sight,
    database=st.builds(database, st.sampled_from(DatabaseStatus), st.sampled_from([SOURCE, TARGET])),
    target=st.none() | st.builds(target, st.sampled_from(ServerStatus), st.sampled_from(Health)),
    twin=st.none() | st.builds(database, st.sampled_from(DatabaseStatus), st.just(TARGET)),
    cancelled=st.booleans(),
)


@given(st.sampled_from(Phase), MOMENTS, st.integers(0, 10))
def test_whatever_is_seen_there_is_something_to_do_until_it_is_over(phase: Phase, seen: Sight, attempt: int) -> None:
    following = decide(move(phase, tries=attempt), seen, NOW, POLICY)
    assert isinstance(following, Rest) == (not TRANSITIONS[phase])


@given(st.sampled_from(Phase), MOMENTS)
def test_whatever_is_seen_it_waits_only_for_so_long(phase: Phase, seen: Sight) -> None:
    late = NOW + max(POLICY.move_seat_timeout, POLICY.move_open_timeout) + timedelta(seconds=1)
    assert not isinstance(decide(move(phase), seen, late, POLICY), Hold | AwaitOpen)


def test_how_long_it_was_shut_is_told_when_it_is_open_again() -> None:
    shut = move(Phase.TIDYING, fenced_at=NOW)
    assert shut.downtime is None
    assert replace(shut, opened_at=NOW + timedelta(seconds=3)).downtime == timedelta(seconds=3)
    assert estimated_downtime(100, 10) == timedelta(seconds=11.5)
