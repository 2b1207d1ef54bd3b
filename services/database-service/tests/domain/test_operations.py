"""Operations: the next move, wishes between steps, and what is thought of a server that is being changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database_service.domain.errors import OperationOver
from database_service.domain.ids import OperationId
from database_service.domain.operations import (
    AT_REST,
    OVER,
    STEP_TRANSITIONS,
    TRANSITIONS,
    Become,
    Begin,
    Carry,
    Done,
    GiveUp,
    Hold,
    Kind,
    Operation,
    Prepare,
    Rest,
    Sight,
    State,
    Step,
    StepState,
    Target,
    TurnBack,
    Values,
    Wish,
    decide,
    judge,
    major_of,
    resumed,
    wished,
)
from database_service.domain.policy import Policy
from database_service.domain.servers import Health, Status
from domain.test_servers import server

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)
POLICY = Policy()
TOO_LATE = NOW + POLICY.server_start_timeout + timedelta(seconds=1)


def operation(state: State = State.RUNNING, wish: Wish | None = None) -> Operation:
    return Operation(
        id=OperationId(UUID(int=1)), seq=1, kind=Kind.ROLLOUT, state=state, state_since=NOW, target=Target(memory_limit=1),
        wish=wish, created_by="a", due_at=None if state in AT_REST else NOW, version=1, last_error=None, created_at=NOW,
        finished_at=NOW if state in OVER else None,
    )  # fmt: skip


def step(state: StepState = StepState.PENDING, ordinal: int = 1, **changes: object) -> Step:
    begun = state not in (StepState.PENDING, StepState.CANCELLED)
    some = Step(
        operation_id=OperationId(UUID(int=1)), ordinal=ordinal, name=f"pool-{ordinal}", subject_id=UUID(int=ordinal),
        state=state, state_since=NOW, before=None, seen_before=None,
        error="it broke" if state in (StepState.FAILED, StepState.UNDOING) else None,
        started_at=NOW if begun else None, finished_at=None if STEP_TRANSITIONS[state] else NOW,
    )  # fmt: skip
    return replace(some, **changes)  # type: ignore[arg-type]


P, R, U, S, K, F = (
    StepState.PENDING, StepState.RUNNING, StepState.UNDOING, StepState.SUCCEEDED, StepState.SKIPPED, StepState.FAILED,
)  # fmt: skip


@pytest.mark.parametrize(
    ("state", "wish", "steps", "move"),
    [
        (State.PENDING, None, [P, P], Prepare()),
        (State.PENDING, Wish.PAUSE, [P, P], Prepare()),
        (State.PENDING, Wish.CANCEL, [P, P], Become(State.CANCELLED)),
        (State.RUNNING, None, [P, P], Begin(step(P, 1))),
        (State.RUNNING, None, [S, K, P], Begin(step(P, 3))),
        (State.RUNNING, None, [S, R, P], Carry(step(R, 2))),
        (State.RUNNING, Wish.CANCEL, [S, R, P], Carry(step(R, 2))),
        (State.RUNNING, Wish.PAUSE, [S, U, P], Carry(step(U, 2))),
        (State.RUNNING, Wish.PAUSE, [S, S, P], Become(State.PAUSED)),
        (State.RUNNING, Wish.CANCEL, [S, S, P], Become(State.CANCELLED)),
        (State.RUNNING, Wish.CANCEL, [S, F, P], Become(State.FAILED, "pool-2: it broke")),
        (State.RUNNING, Wish.CANCEL, [S, K], Become(State.SUCCEEDED)),
        (State.RUNNING, None, [], Become(State.SUCCEEDED)),
        (State.PAUSED, None, [S, P], Rest()),
        (State.FAILED, None, [S, F], Rest()),
    ],
)
def test_the_next_move(state: State, wish: Wish | None, steps: list[StepState], move: object) -> None:
    assert decide(operation(state, wish), [step(s, n) for n, s in enumerate(steps, 1)]) == move


# -- wishes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "in_hand", "wish", "after", "noted"),
    [
        (State.PENDING, False, Wish.PAUSE, State.PENDING, Wish.PAUSE),
        (State.PENDING, False, Wish.CANCEL, State.CANCELLED, None),
        (State.RUNNING, False, Wish.PAUSE, State.PAUSED, None),
        (State.RUNNING, True, Wish.PAUSE, State.RUNNING, Wish.PAUSE),
        (State.RUNNING, True, Wish.CANCEL, State.RUNNING, Wish.CANCEL),
        (State.PAUSED, False, Wish.PAUSE, State.PAUSED, None),
        (State.PAUSED, False, Wish.CANCEL, State.CANCELLED, None),
    ],
)
def test_a_wish_counts_at_once_between_steps_and_is_noted_during_one(
    state: State, in_hand: bool, wish: Wish, after: State, noted: Wish | None
) -> None:
    steered = wished(operation(state), [step(R if in_hand else P)], wish, LATER)
    assert (steered.state, steered.wish) == (after, noted)


def test_to_cancel_counts_for_more_than_to_pause() -> None:
    both = operation(wish=Wish.CANCEL)
    assert wished(both, [step(R)], Wish.PAUSE, LATER) == both
    assert resumed(both, LATER) == both


def test_a_paused_operation_goes_on_and_a_pause_that_was_only_noted_is_forgotten() -> None:
    assert resumed(operation(State.PAUSED), LATER).state is State.RUNNING
    assert resumed(operation(wish=Wish.PAUSE), LATER) == operation()


@pytest.mark.parametrize("state", sorted(OVER))
def test_what_is_over_is_not_steered(state: State) -> None:
    for wish in Wish:
        with pytest.raises(OperationOver):
            wished(operation(state), [], wish, LATER)
    with pytest.raises(OperationOver):
        resumed(operation(state), LATER)


# -- the change of one server -----------------------------------------------------------------------------------------

WELL = server(Status.ACTIVE, health=Health.HEALTHY, last_health_check=NOW, facts={"started_at": "new"})
ILL = replace(WELL, health=Health.UNHEALTHY, health_message="it refuses.")
CHANGING = step(R, seen_before="old")
BACK = step(U, seen_before="new")


@pytest.mark.parametrize(
    ("one", "sight", "now", "verdict"),
    [
        (CHANGING, Sight(WELL), NOW, Done()),
        (CHANGING, Sight(WELL), TOO_LATE, Done()),
        (step(R), Sight(WELL), NOW, Done()),
        (CHANGING, Sight(replace(WELL, facts={"started_at": "old"})), NOW, Hold("it has not been seen well yet")),
        (CHANGING, Sight(WELL, differs=["a is 1 and should be 2"]), NOW, Hold("a is 1 and should be 2")),
        (CHANGING, Sight(WELL, trouble="nobody can tell."), NOW, Hold("nobody can tell")),
        (CHANGING, Sight(ILL), NOW, Hold("it refuses")),
        (CHANGING, Sight(replace(WELL, last_health_check=NOW - timedelta(seconds=1))), NOW,
         Hold("it has not been seen well yet")),
        (CHANGING, Sight(ILL), TOO_LATE, TurnBack("it refuses")),
        (CHANGING, Sight(WELL, refused="no memory"), NOW, TurnBack("no memory")),
        (CHANGING, Sight(replace(ILL, status=Status.ERROR)), NOW, TurnBack("it refuses")),
        (BACK, Sight(replace(WELL, facts={"started_at": "newer"})), NOW, Done()),
        (BACK, Sight(ILL), NOW, Hold("it refuses")),
        (BACK, Sight(ILL, refused="no disk"), NOW, Hold("no disk")),
        (BACK, Sight(ILL), TOO_LATE, GiveUp("it broke; put back, it is not well either: it refuses")),
    ],
)  # fmt: skip
def test_what_is_thought_of_a_server_that_is_being_changed(
    one: Step, sight: Sight, now: datetime, verdict: object
) -> None:
    assert judge(one, sight, now, POLICY) == verdict


def test_what_is_not_asked_for_stays() -> None:
    before = Values(image="a", memory_limit=1, cpu_limit=1, max_instances=1)
    assert Target(cpu_limit=2).over(before) == replace(before, cpu_limit=2)
    assert Target(image="b", pinned="b@sha256:1").over(before) == replace(before, image="b@sha256:1")


def test_the_major_version_is_what_comes_first() -> None:
    assert [major_of("18.6"), major_of("18"), major_of("9.6.1")] == [18, 18, 9]


# -- nothing is left in progress --------------------------------------------------------------------------------------

SIGHTS = [
    Sight(WELL), Sight(ILL), Sight(WELL, refused="no"), Sight(WELL, trouble="who knows"), Sight(WELL, differs=["x"]),
    Sight(replace(ILL, status=Status.ERROR)),
]  # fmt: skip
ENDS = {Done: {R: S, U: F}, TurnBack: {R: U}, GiveUp: {U: F}, Hold: {R: R, U: U}}


def _moved(one: Operation, steps: list[Step], sight: Sight, now: datetime) -> tuple[Operation, list[Step]]:
    """The rows after one move, as the reconciler leaves them; each look finds what `sight` says."""

    def with_step(after: Step) -> list[Step]:
        assert after.state in STEP_TRANSITIONS[steps[after.ordinal - 1].state] | {steps[after.ordinal - 1].state}
        return [after if s.ordinal == after.ordinal else s for s in steps]

    match decide(one, steps):
        case Prepare():
            return one.become(State.RUNNING, now), steps
        case Begin(begun):
            return one, with_step(begun.become(R, now))
        case Carry(carried):
            after = ENDS[type(judge(carried, sight, now, POLICY))][carried.state]
            return one, steps if after is carried.state else with_step(carried.become(after, now, "it broke"))
        case Become(state, why):
            assert state in TRANSITIONS[one.state]
            return one.become(state, now, why), steps
        case Rest():
            return one, steps


@given(
    st.integers(0, 4),
    st.lists(
        st.tuples(st.sampled_from(SIGHTS), st.sampled_from([None, Wish.PAUSE, Wish.CANCEL, "resume"])), max_size=30
    ),
)
def test_whatever_was_seen_and_wished_an_operation_comes_to_rest_once_time_passes(
    size: int, history: list[tuple[Sight, Wish | str | None]]
) -> None:
    one, steps, now = operation(State.PENDING), [step(ordinal=n + 1) for n in range(size)], NOW
    for sight, wish in history:
        if one.state not in OVER and wish:
            one = wished(one, steps, wish, now) if isinstance(wish, Wish) else resumed(one, now)
        one, steps = _moved(one, steps, sight, now)
        assert sum(s.state in (R, U) for s in steps) <= 1
    for _ in range(4 * size + 4):
        now += 2 * POLICY.server_start_timeout
        one, steps = _moved(one, steps, Sight(ILL), now)
    assert one.state in AT_REST
    assert not any(s.state in (R, U) for s in steps)
    assert (one.due_at is None, one.finished_at is not None) == (True, one.state in OVER)
