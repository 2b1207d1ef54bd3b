"""decide(): every state with every observation has one answer, and none of them does harm."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from instance_service.domain.databases import DatabaseSeen, State
from instance_service.domain.ids import CustomerId, InstanceId
from instance_service.domain.instances import (
    RESTING,
    SETTLED,
    TRANSITIONS,
    Allocate,
    Ask,
    Become,
    Ensure,
    Given,
    Instance,
    Release,
    Remove,
    Rest,
    Status,
    Wait,
    Wanted,
    World,
    decide,
)
from instance_service.domain.plans import Tier
from instance_service.domain.policy import Policy
from instance_service.domain.secret import Secret
from instance_service.domain.workloads import Address, Login, Presence, Seen

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HERE, THERE = Address("10.0.0.1", 5432), Address("10.0.0.2", 5432)
POLICY = Policy()


def instance(status: Status = Status.RUNNING, **changes: object) -> Instance:
    ask = Ask("todo", CustomerId("c-1"), Tier.FREE, None, (), {})
    errand = uuid4() if status in (Status.CHANGING_PLAN, Status.ROTATING) else None
    fields: dict[str, object] = {
        "id": InstanceId(UUID(int=1)), "seq": 1, "ask": ask, "plan_tier": Tier.FREE, "placed_tier": Tier.FREE,
        "wanted": Wanted.RUNNING, "status": status, "status_since": NOW, "given": None, "address": None, "errand": errand,
        "operation_id": None, "progress": None, "budget_until": NOW + timedelta(minutes=30), "failures": 0, "due_at": NOW,
        "version": 1, "attempts": 0, "last_error": None, "created_at": NOW, "deleted_at": None,
    }  # fmt: skip
    return Instance(**(fields | changes))  # type: ignore[arg-type]


def login(at: Address = HERE, user: str = "u_1") -> Login:
    return Login(at, "app", user, Secret(""))


GIVEN = Given(HERE, "u_1", instance().spec(login()).version)

databases = st.builds(
    DatabaseSeen,
    st.sampled_from(State),
    st.sampled_from([HERE, THERE]),
    st.just("app"),
    st.sampled_from(["u_1", "u_2"]),
)
workloads = st.builds(
    Seen,
    st.sampled_from(Presence),
    st.booleans(),
    st.just(HERE),
    st.sampled_from([None, GIVEN.version, "another"]),
)
worlds = st.builds(World, workloads, databases)
instances = st.builds(
    instance,
    st.sampled_from(Status),
    given=st.sampled_from([None, GIVEN]),
    wanted=st.sampled_from(Wanted),
    attempts=st.integers(0, 9),
    failures=st.integers(0, 9),
    operation_id=st.sampled_from([None, uuid4()]),
)
moments = st.timedeltas(timedelta(), timedelta(hours=2)).map(lambda later: NOW + later)


@given(instances, worlds, moments)
def test_every_state_with_every_sight_has_an_answer_that_the_table_of_transitions_allows(
    here: Instance, world: World, now: datetime
) -> None:
    move = decide(here, world, now, POLICY)
    if isinstance(move, Become):
        assert move.status in TRANSITIONS[here.status]


@given(instances, worlds, moments)
def test_a_workload_is_started_only_with_a_database_that_is_ready_and_never_for_one_that_is_to_stop_or_go(
    here: Instance, world: World, now: datetime
) -> None:
    if isinstance(decide(here, world, now, POLICY), Ensure):
        assert world.database.state is State.READY
        in_hand = (Status.ERROR, Status.CHANGING_PLAN, Status.ROTATING)
        assert here.status is Status.STARTING or (here.status in in_hand and here.wanted is Wanted.RUNNING)


@given(instances, worlds, moments)
def test_a_database_is_asked_for_only_by_who_never_had_one(here: Instance, world: World, now: datetime) -> None:
    if isinstance(decide(here, world, now, POLICY), Allocate):
        assert here.status is Status.PENDING or here.given is None


@given(instances, worlds, moments)
def test_a_database_is_released_only_when_the_workload_is_seen_to_be_gone(
    here: Instance, world: World, now: datetime
) -> None:
    if isinstance(decide(here, world, now, POLICY), Release):
        assert here.status is Status.DELETING
        assert world.workload.presence is Presence.ABSENT


@given(instances, worlds)
def test_nothing_waits_for_ever_on_its_way(here: Instance, world: World) -> None:
    """After hours in a state that is no rest, something is done or it is called an error."""
    if here.status in (Status.PENDING, Status.WAITING_FOR_DATABASE, Status.STARTING):
        move = decide(here, world, NOW + timedelta(days=1), POLICY)
        assert not isinstance(move, Wait | Rest)


def test_each_state_leads_on_or_rests() -> None:
    for status, following in TRANSITIONS.items():
        assert following or status is Status.DELETED
    assert RESTING <= SETTLED


def test_a_running_one_is_restarted_when_its_database_is_elsewhere_and_says_where_to() -> None:
    seen = World(
        Seen(Presence.RUNNING, healthy=True, version=GIVEN.version), DatabaseSeen(State.READY, THERE, "app", "u_1")
    )
    move = decide(instance(given=GIVEN), seen, NOW, POLICY)
    assert move == Become(Status.STARTING, "its database moved to 10.0.0.2:5432")


def test_a_successor_is_waited_for_while_the_earlier_one_serves_and_no_longer_than_a_start_may_take() -> None:
    starting = instance(Status.STARTING, given=GIVEN)
    seen = World(
        Seen(Presence.RUNNING, healthy=True, version=None, detail="its health check has not passed yet"),
        DatabaseSeen(State.READY, HERE, "app", "u_1"),
    )
    why = "its health check has not passed yet"
    assert decide(starting, seen, NOW + POLICY.start_timeout, POLICY) == Wait(why)
    assert decide(starting, seen, NOW + POLICY.start_timeout * 1.1, POLICY) == Become(Status.ERROR, why)


def test_one_that_is_well_and_where_it_was_rests() -> None:
    seen = World(
        Seen(Presence.RUNNING, healthy=True, version=GIVEN.version), DatabaseSeen(State.READY, HERE, "app", "u_1")
    )
    assert decide(instance(given=GIVEN), seen, NOW, POLICY) == Rest()


def test_a_deleted_workload_that_still_runs_is_removed_first() -> None:
    seen = World(Seen(Presence.STOPPED))
    assert decide(instance(Status.DELETING, given=GIVEN), seen, NOW, POLICY) == Remove()


def test_while_its_database_moves_an_ill_one_says_so() -> None:
    seen = World(Seen(Presence.RUNNING, healthy=False, version=GIVEN.version), DatabaseSeen(State.MOVING))
    assert decide(instance(given=GIVEN), seen, NOW, POLICY) == Rest("its database is moving")
