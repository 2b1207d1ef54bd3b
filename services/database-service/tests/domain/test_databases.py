"""decide() for databases, and the sameness of asks."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database_service.domain.databases import (
    TRANSITIONS,
    ApplyLimits,
    Ask,
    Build,
    Close,
    Database,
    Drop,
    DropLogin,
    Login,
    LoginState,
    MakeLogin,
    Purge,
    Rest,
    Seat,
    SetStop,
    Status,
    decide,
)
from database_service.domain.ids import CustomerId, DatabaseId, InstanceId, LoginId, ServerId
from database_service.domain.plans import ServerType, Tier
from database_service.domain.usage import Stop

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ASK = Ask(InstanceId("i"), CustomerId("c"), Tier.FREE, ServerType.SHARED)


def database(status: Status = Status.READY, **changes: object) -> Database:
    some = Database(
        id=DatabaseId(UUID(int=1)), status=status, status_since=NOW, ask=ASK, plan_tier=Tier.FREE, limits_tier=Tier.FREE,
        template="default", server_id=ServerId(UUID(int=2)), name="db_x", physical_name="db_x", owner_role="own_x",
        protected=False, purge_after=None, due_at=None, version=1, attempts=0, last_error=None, created_at=NOW, ready_at=NOW,
        released_at=None,
    )  # fmt: skip
    return replace(some, **changes)  # type: ignore[arg-type]


def login(state: LoginState = LoginState.ACTIVE, expires_in: timedelta | None = None) -> Login:
    return Login(
        LoginId(UUID(int=3)), DatabaseId(UUID(int=1)), "u_x", b"", state, NOW, NOW + expires_in if expires_in else None
    )


@pytest.mark.parametrize(
    ("status", "changes", "move"),
    [
        (Status.WAITING, {"server_id": None}, Seat()),
        (Status.CREATING, {}, Build(Status.READY)),
        (Status.CREATING, {"ask": None}, Build(Status.SPARE)),
        (Status.SPARE, {"ask": None}, Rest()),
        (Status.READY, {}, Rest()),
        (Status.READY, {"plan_tier": Tier.STANDARD}, ApplyLimits()),
        (Status.READY, {"plan_tier": Tier.STANDARD, "stop_wanted": Stop.WRITES}, ApplyLimits()),
        (Status.READY, {"stop_wanted": Stop.WRITES}, SetStop(Stop.WRITES)),
        (Status.READY, {"stop_wanted": Stop.WRITES, "stop": Stop.WRITES}, Rest()),
        (Status.READY, {"stop": Stop.DOOR}, SetStop(Stop.NONE)),
        (Status.READY, {"stop": None}, SetStop(Stop.NONE)),
        (Status.RELEASING, {}, Close()),
        (Status.RELEASING, {"purge_after": NOW + timedelta(days=1)}, Close()),
        (Status.RELEASING, {"purge_after": NOW}, Purge()),
        (Status.RELEASED, {"purge_after": NOW + timedelta(days=1)}, Rest(NOW + timedelta(days=1))),
        (Status.RELEASED, {"purge_after": NOW}, Purge()),
        (Status.RELEASED, {"purge_after": NOW, "protected": True}, Rest()),
        (Status.PURGED, {}, Drop()),
        (Status.PURGED, {"server_id": None}, Rest()),
    ],
)
def test_what_is_done_next(status: Status, changes: dict[str, object], move: object) -> None:
    assert decide(database(status, **changes), (), NOW) == move


def test_a_login_that_is_wanted_is_made() -> None:
    wanted = login(LoginState.PENDING)
    assert decide(database(), (wanted,), NOW) == MakeLogin(wanted)


def test_a_login_is_left_until_it_expires_and_then_dropped() -> None:
    ending = login(expires_in=timedelta(minutes=5))
    assert decide(database(), (ending,), NOW) == Rest(NOW + timedelta(minutes=5))
    assert decide(database(), (ending,), NOW + timedelta(minutes=5)) == DropLogin(ending)


def test_asks_differ_by_the_fields_that_differ() -> None:
    other = replace(ASK, plan_tier=Tier.STANDARD, template="odoo")
    assert ASK.differences(other) == ("plan_tier", "template")
    assert ASK.differences(ASK) == ()


@given(
    st.sampled_from(Status), st.booleans(), st.booleans(), st.booleans(), st.sampled_from(Tier),
    st.lists(st.sampled_from([login(), login(LoginState.PENDING), login(expires_in=timedelta(1))])),
)  # fmt: skip
def test_every_database_has_a_next_move_within_the_table(
    status: Status, asked: bool, seated: bool, protected: bool, tier: Tier, logins: list[Login]
) -> None:
    one = database(
        status, ask=ASK if asked else None, server_id=ServerId(UUID(int=2)) if seated else None, protected=protected,
        plan_tier=tier, purge_after=NOW,
    )  # fmt: skip
    targets = {Build: Status.READY if asked else Status.SPARE, Close: Status.RELEASED, Purge: Status.PURGED}
    move = decide(one, logins, NOW)
    if target := targets.get(type(move)):
        assert target in TRANSITIONS[status]
