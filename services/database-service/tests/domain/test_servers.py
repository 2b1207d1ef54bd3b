"""decide() for servers: every state with every observation has an answer, and none is a dead end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database_service.domain.ids import ServerId
from database_service.domain.plans import ServerType
from database_service.domain.policy import Policy
from database_service.domain.servers import (
    TRANSITIONS,
    Address,
    Become,
    Ensure,
    Health,
    Open,
    Presence,
    Probe,
    Remove,
    Rest,
    Seen,
    Server,
    Status,
    Wait,
    assess,
    decide,
    next_look,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
POLICY = Policy()
HERE = Address("127.0.0.1", 5432)
ABSENT = Seen(Presence.ABSENT)
STOPPED = Seen(Presence.STOPPED, HERE)
MUTE = Seen(Presence.RUNNING, HERE, Probe(ok=False, why="it refuses"))
STARTING = Seen(Presence.STARTING, why="no suitable node: 2 nodes without constraint node.labels.role==database")
WELL = Seen(Presence.RUNNING, HERE, Probe(ok=True, postgres_version="18.6"))
HIDDEN = Seen(Presence.UNKNOWN, why="no permission to look")
EVERYTHING_SEEN = (ABSENT, STOPPED, STARTING, MUTE, WELL, HIDDEN)


def server(status: Status = Status.ACTIVE, **changes: object) -> Server:
    some = Server(
        id=ServerId(UUID(int=1)), seq=1, name="pool-x", server_type=ServerType.SHARED, provisioner="process", status=status,
        status_since=NOW, health=Health.HEALTHY, health_failures=0, health_message=None, last_health_check=None,
        cordoned=False, cordon_reason=None, manual=False, priority=0, max_instances=50, instance_id=None, customer_id=None,
        plan_tier=None, host=None, port=None, admin_user="a", admin_password_sealed=b"", admin_password_version=1,
        admin_password_next=None, image=None, postgres_version=None, cpu_limit=1, memory_limit=1, facts={},
        keep_data_until=None, due_at=NOW, version=1, attempts=0, last_error=None, created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    return replace(some, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "seen", "move"),
    [
        (Status.PROVISIONING, ABSENT, Ensure),
        (Status.PROVISIONING, STOPPED, Ensure),
        (Status.PROVISIONING, STARTING, Become),
        (Status.PROVISIONING, WELL, Become),
        (Status.PROVISIONING, HIDDEN, Wait),
        (Status.INITIALIZING, ABSENT, Ensure),
        (Status.INITIALIZING, STARTING, Wait),
        (Status.INITIALIZING, MUTE, Wait),
        (Status.INITIALIZING, WELL, Open),
        (Status.ACTIVE, WELL, Rest),
        (Status.ACTIVE, MUTE, Wait),
        (Status.ACTIVE, STARTING, Wait),
        (Status.ACTIVE, STOPPED, Ensure),
        (Status.ACTIVE, HIDDEN, Wait),
        (Status.ERROR, ABSENT, Ensure),
        (Status.ERROR, STARTING, Ensure),
        (Status.ERROR, MUTE, Wait),
        (Status.ERROR, WELL, Become),
        (Status.DEPROVISIONING, WELL, Remove),
        (Status.DEPROVISIONING, STARTING, Remove),
        (Status.DEPROVISIONING, STOPPED, Remove),
        (Status.DEPROVISIONING, ABSENT, Become),
        (Status.DEPROVISIONING, HIDDEN, Wait),
        (Status.GONE, ABSENT, Rest),
    ],
)
def test_what_is_done_about_what_is_seen(status: Status, seen: Seen, move: type) -> None:
    assert isinstance(decide(server(status), seen, NOW, POLICY), move)


@pytest.mark.parametrize("status", [Status.PROVISIONING, Status.INITIALIZING, Status.ACTIVE])
def test_a_server_that_fell_over_too_often_is_called_an_error(status: Status) -> None:
    tired = server(status, attempts=POLICY.server_attempts, last_error="No space left on device")
    assert decide(tired, STOPPED, NOW, POLICY) == Become(Status.ERROR, "No space left on device")


def test_a_start_that_takes_too_long_is_called_an_error() -> None:
    late = NOW + POLICY.server_start_timeout + timedelta(seconds=1)
    assert decide(server(Status.INITIALIZING), MUTE, late, POLICY) == Become(Status.ERROR, "it refuses")


def test_what_keeps_a_start_from_happening_is_told_at_once_and_is_an_error_when_it_stays() -> None:
    assert decide(server(Status.INITIALIZING), STARTING, NOW, POLICY) == Wait(STARTING.why)
    late = NOW + POLICY.server_start_timeout + timedelta(seconds=1)
    assert decide(server(Status.INITIALIZING), STARTING, late, POLICY) == Become(Status.ERROR, STARTING.why)


def test_a_start_counts_from_when_it_was_first_seen_however_long_ago_it_was_ordered() -> None:
    late = NOW + POLICY.server_start_timeout * 2
    assert decide(server(Status.PROVISIONING), STARTING, late, POLICY) == Become(Status.INITIALIZING)


def test_an_active_server_that_is_being_started_again_is_ill_and_looked_at_soon() -> None:
    assert assess(server(), STARTING, POLICY).health is Health.UNHEALTHY
    assert decide(server(), STARTING, NOW, POLICY) == Wait(STARTING.why, soon=True)


def test_one_that_does_not_come_up_again_is_now_and_then_made_anew_what_it_should_be() -> None:
    moves = [decide(server(health_failures=failures), STARTING, NOW, POLICY) for failures in range(30)]
    assert [number for number, move in enumerate(moves, 1) if move == Ensure(STARTING.why)] == [15, 30]
    tired = server(health_failures=14, attempts=POLICY.server_attempts)
    assert isinstance(decide(tired, STARTING, NOW, POLICY), Become)


def test_an_error_is_left_by_itself_when_the_server_answers() -> None:
    move = decide(server(Status.ERROR), WELL, NOW, POLICY)
    assert isinstance(move, Become)
    assert move.status is Status.INITIALIZING


def test_kept_data_outlives_its_server_until_its_time() -> None:
    kept = server(Status.DEPROVISIONING, keep_data_until=NOW + timedelta(days=1))
    assert decide(kept, WELL, NOW, POLICY) == Remove(keep_data=True)
    waiting = decide(kept, STOPPED, NOW, POLICY)
    assert isinstance(waiting, Wait)
    assert waiting.why == f"its data is kept until {kept.keep_data_until:%Y-%m-%d %H:%M} UTC"
    assert decide(kept, STOPPED, NOW + timedelta(days=2), POLICY) == Remove(keep_data=False)


def test_a_server_that_is_only_forgotten_is_cleaned_first() -> None:
    left = replace(WELL, tenants_left=2)
    assert isinstance(decide(server(Status.DEPROVISIONING), left, NOW, POLICY), Wait)


def test_a_process_that_is_gone_is_unhealthy_at_once() -> None:
    assert assess(server(), STOPPED, POLICY).health is Health.UNHEALTHY


def test_a_login_that_fails_makes_it_degraded_and_three_in_a_row_unhealthy() -> None:
    verdicts = []
    one = server()
    for _ in range(3):
        verdict = assess(one, MUTE, POLICY)
        verdicts.append(verdict.health)
        one = replace(one, health=verdict.health, health_failures=verdict.failures)
    assert verdicts == [Health.DEGRADED, Health.DEGRADED, Health.UNHEALTHY]


def test_one_good_look_makes_an_unhealthy_server_healthy() -> None:
    ill = server(health=Health.UNHEALTHY, health_failures=9)
    verdict = assess(ill, WELL, POLICY)
    assert (verdict.health, verdict.failures) == (Health.HEALTHY, 0)


def test_not_being_able_to_look_counts_as_a_failed_look_and_not_as_a_server_that_is_gone() -> None:
    assert assess(server(), HIDDEN, POLICY).health is Health.DEGRADED
    assert assess(server(health_failures=2), HIDDEN, POLICY).health is Health.UNHEALTHY


def test_an_external_server_that_cannot_be_reached_is_let_go_after_a_grace() -> None:
    leaving = server(Status.DEPROVISIONING, provisioner="external")
    assert isinstance(decide(leaving, replace(HIDDEN, tenants_left=1), NOW, POLICY), Wait)
    late = NOW + POLICY.failed_pool_grace
    assert decide(leaving, replace(HIDDEN, tenants_left=1), late, POLICY) == Remove(keep_data=False)


@given(st.integers(0, 1000))
def test_an_ill_server_is_looked_at_again_soon_and_never_less_often_than_a_well_one(failures: int) -> None:
    verdict = assess(server(health_failures=failures), STOPPED, POLICY)
    assert timedelta() < next_look(server(), verdict, POLICY) <= POLICY.health_interval


def _after(one: Server, seen: Seen) -> Server:
    """The row as a step would leave it, as far as states go."""
    match decide(one, seen, NOW, POLICY):
        case Ensure():
            started = Status.INITIALIZING if one.status is Status.PROVISIONING else one.status
            return replace(one, status=started, attempts=one.attempts + 1)
        case Open():
            return replace(one, status=Status.ACTIVE, attempts=0)
        case Become(status):
            return replace(one, status=status, attempts=0)
        case Remove(keep_data):
            return one if keep_data else replace(one, status=Status.GONE)
        case Wait() | Rest():
            return one


@given(st.sampled_from(Status), st.lists(st.sampled_from(EVERYTHING_SEEN), max_size=30))
def test_no_sequence_of_observations_leaves_the_table_of_transitions(start: Status, seen: list[Seen]) -> None:
    one = server(start)
    for look in seen:
        after = _after(one, look)
        assert after.status is one.status or after.status in TRANSITIONS[one.status]
        one = after


@given(
    st.sampled_from([s for s in Status if s is not Status.DEPROVISIONING]),
    st.lists(st.sampled_from(EVERYTHING_SEEN), max_size=20),
)
def test_whatever_was_seen_before_a_server_that_is_well_becomes_active(start: Status, seen: list[Seen]) -> None:
    one = server(start)
    for look in [*seen, WELL, WELL, WELL]:
        one = _after(one, look)
    assert one.status is (Status.GONE if start is Status.GONE else Status.ACTIVE)


@given(st.lists(st.sampled_from(EVERYTHING_SEEN), max_size=20))
def test_whatever_was_seen_before_a_retired_server_goes(seen: list[Seen]) -> None:
    one = server(Status.DEPROVISIONING)
    for look in [*seen, STOPPED]:
        one = _after(one, look)
    assert one.status is Status.GONE
