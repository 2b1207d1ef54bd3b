"""Drift, decided without I/O: what is drift and what is only being worked on, and when a removal may go on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from database_service.domain.drift import (
    Drift,
    Finding,
    Kind,
    Looked,
    Refuse,
    Servers,
    Settle,
    State,
    Take,
    Tenant,
    compare_inside,
    compare_servers,
    confirmation,
    decide,
    expiry,
)
from database_service.domain.ids import DriftId, ServerId
from database_service.domain.policy import Policy
from database_service.domain.servers import Address, Found, Presence, Server, Status
from database_service.domain.tenancy import OurDatabase, OurRole, Ours
from domain.test_servers import server

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
POLICY = Policy()
HERE, THERE = Address("127.0.0.1", 5432), Address("127.0.0.1", 6000)
ID = ServerId(UUID(int=1))


def row(status: Status = Status.ACTIVE, **changes: object) -> Server:
    made: dict[str, object] = {"host": HERE.host, "port": HERE.port, "postgres_version": "18.6"}
    return server(status, **(made | changes))


def found(presence: Presence = Presence.RUNNING, address: Address | None = HERE, **changes: object) -> Found:
    return replace(Found(ID, "pool-x", presence, address, ("directory /srv/x",)), **changes)  # type: ignore[arg-type]


def rows(*servers: Server) -> Servers:
    return {each.id: each for each in servers}


# -- servers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "listed", "kinds"),
    [
        (rows(row()), rows(row()), [found()], []),
        ({}, {}, [found()], [Kind.SERVER_WITHOUT_ROW]),
        ({}, {}, [found(Presence.ABSENT, None)], [Kind.SERVER_WITHOUT_ROW]),
        # it was ordered, or its row ended, while we looked
        ({}, rows(row(Status.PROVISIONING)), [found()], []),
        (rows(row(Status.DEPROVISIONING)), {}, [found()], []),
        (rows(row()), rows(row()), [], [Kind.SERVER_GONE]),
        (rows(row()), rows(row()), [found(Presence.ABSENT, None)], [Kind.SERVER_GONE]),
        (rows(row(Status.ERROR)), rows(row(Status.ERROR)), [], [Kind.SERVER_GONE]),
        # being made, retired meanwhile, recovering, never made, kept for its grace, made by somebody else
        (rows(row(Status.PROVISIONING)), rows(row(Status.PROVISIONING)), [], []),
        (rows(row()), rows(row(Status.DEPROVISIONING)), [], []),
        (rows(row(Status.ERROR)), rows(row(Status.INITIALIZING)), [], []),
        (rows(row(Status.ERROR, postgres_version=None)), rows(row(Status.ERROR, postgres_version=None)), [], []),
        (rows(row(Status.DEPROVISIONING)), rows(row(Status.DEPROVISIONING)), [found(Presence.STOPPED, None)], []),
        (rows(row(provisioner="external")), rows(row(provisioner="external")), [], []),
        # what cannot be looked at is not gone; what is stopped is not moved
        (rows(row()), rows(row()), [found(Presence.UNKNOWN, None)], []),
        (rows(row()), rows(row()), [found(Presence.STOPPED, None)], []),
        (rows(row()), rows(row()), [found(address=THERE)], [Kind.SERVER_MOVED]),
        # its row learned of the move while we looked
        (rows(row()), rows(row(port=THERE.port)), [found(address=THERE)], []),
    ],
)
def test_servers_are_compared_with_rows_of_before_and_after(
    before: Servers, after: Servers, listed: list[Found], kinds: list[Kind]
) -> None:
    assert [f.kind for f in compare_servers(before, after, {"process": listed, "external": ()}, frozenset())] == kinds


def test_a_provisioner_that_was_not_listed_accuses_nobody() -> None:
    assert compare_servers(rows(row()), rows(row()), {}, frozenset()) == []


@pytest.mark.parametrize(
    ("thing", "wanted", "removable"), [({}, False, True), ({"labelled": False}, False, False), ({}, True, False)]
)
def test_only_what_is_labelled_and_no_database_wants_may_be_removed(
    thing: dict[str, object], wanted: bool, removable: bool
) -> None:
    [finding] = compare_servers({}, {}, {"process": [found(**thing)]}, frozenset({ID} if wanted else ()))
    assert (finding.kept is None) is removable
    assert finding.told == ("directory /srv/x",)


# -- inside a server --------------------------------------------------------------------------------------------------

TENANT = Tenant("db_a", "i-1", "own_a", frozenset({"u_a"}), frozenset(), version=3, settled=True)
WHOLE = Ours((OurDatabase("db_a", 1, "own_a"),), (OurRole("own_a", 2, ("db_a",)), OurRole("u_a", 3)))
STRAYS = Ours((OurDatabase("db_s", 7, "own_s"),), (OurRole("own_s", 8, ("db_s",)), OurRole("u_s", 9)))
BUSY = replace(TENANT, settled=False)


def kinds_inside(before: list[Tenant], after: list[Tenant], ours: Ours, elsewhere: frozenset[str] = frozenset()) -> set:
    return {(f.kind, f.thing) for f in compare_inside(row(), before, after, elsewhere, ours).findings}


@pytest.mark.parametrize(
    ("before", "after", "ours", "expected"),
    [
        ([TENANT], [TENANT], WHOLE, set()),
        (
            [], [], STRAYS,
            {(Kind.DATABASE_WITHOUT_ROW, "db_s"), (Kind.ROLE_WITHOUT_ROW, "own_s"), (Kind.ROLE_WITHOUT_ROW, "u_s")},
        ),
        # built, or dropped, while we looked
        ([], [TENANT], WHOLE, set()),
        ([TENANT], [], WHOLE, set()),
        ([], [TENANT], Ours(), set()),
        ([TENANT], [replace(TENANT, version=4)], Ours(), set()),
        ([BUSY], [BUSY], Ours(), set()),
        ([BUSY], [TENANT], Ours(), set()),
        (
            [TENANT], [TENANT], Ours(),
            {(Kind.DATABASE_GONE, "db_a"), (Kind.ROLE_GONE, "own_a"), (Kind.ROLE_GONE, "u_a")},
        ),
        # somebody else took the name
        ([TENANT], [TENANT], replace(WHOLE, databases=()), {(Kind.DATABASE_GONE, "db_a")}),
        # renamed by hand: told once, and never taken for one without a row
        ([TENANT], [TENANT], replace(WHOLE, databases=(OurDatabase("x", 1, "own_a"),)), {(Kind.DATABASE_GONE, "db_a")}),
        ([TENANT], [TENANT], replace(WHOLE, files=frozenset({"99"})), {(Kind.FILES_WITHOUT_DATABASE, "99")}),
        ([TENANT], [TENANT], replace(WHOLE, files_unsettled=frozenset({"99"})), set()),
    ],
)  # fmt: skip
def test_the_inside_of_a_server_is_compared_with_rows_of_before_and_after(
    before: list[Tenant], after: list[Tenant], ours: Ours, expected: set[tuple[Kind, str]]
) -> None:
    assert kinds_inside(before, after, ours) == expected


def test_a_login_that_may_be_there_is_neither_missed_nor_a_stray() -> None:
    rotating = replace(TENANT, other_logins=frozenset({"u_b"}))
    both = replace(WHOLE, roles=(*WHOLE.roles, OurRole("u_b", 4)))
    assert kinds_inside([rotating], [rotating], WHOLE) == kinds_inside([rotating], [rotating], both) == set()


def test_what_a_row_of_another_server_knows_is_no_stray() -> None:
    assert kinds_inside([], [], STRAYS, frozenset({"own_s", "u_s"})) == set()


def test_a_role_goes_after_the_database_that_it_owns() -> None:
    findings = {f.thing: f for f in compare_inside(row(), [], [], frozenset(), STRAYS).findings}
    assert findings["db_s"].kept is None
    assert findings["u_s"].kept is None
    assert findings["own_s"].kept == "It still owns the database db_s; that goes first."


def test_on_a_server_of_somebody_else_nothing_may_be_removed() -> None:
    assert all(f.kept for f in compare_inside(row(provisioner="external"), [], [], frozenset(), STRAYS).findings)


# -- what a look can vouch for ----------------------------------------------------------------------------------------


def finding(kind: Kind = Kind.DATABASE_WITHOUT_ROW, thing: str = "db_s", **changes: object) -> Finding:
    return replace(Finding(kind, "process", ID, "pool-x", thing, ("database db_s",)), **changes)  # type: ignore[arg-type]


def looked(**changes: object) -> Looked:
    nowhere = Looked(frozenset(), frozenset(), {}, frozenset({ID}))
    return replace(nowhere, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("look", "what", "vouched"),
    [
        (looked(), finding(), False),
        (looked(inside={ID: frozenset()}), finding(), True),
        (looked(inside={ID: frozenset({"db_s"})}), finding(), False),
        (looked(live=frozenset()), finding(), True),
        (looked(inside={ID: frozenset()}), finding(Kind.SERVER_GONE, ""), False),
        (looked(provisioners=frozenset({"process"})), finding(Kind.SERVER_GONE, ""), True),
        (looked(provisioners=frozenset({"process"})), finding(Kind.SERVER_DIFFERS, ""), False),
        (looked(compared=frozenset({ID})), finding(Kind.SERVER_DIFFERS, ""), True),
        (looked(live=frozenset()), finding(Kind.SERVER_WITHOUT_ROW, ""), False),
    ],
)
def test_only_what_was_looked_at_can_be_healed(look: Looked, what: Finding, vouched: bool) -> None:
    assert look.vouches_for(what) is vouched


# -- confirmations and removal ----------------------------------------------------------------------------------------

UNTIL = NOW + timedelta(minutes=15)
DRIFT_ID = DriftId(UUID(int=5))


def drift(**changes: object) -> Drift:
    code = confirmation(DRIFT_ID, finding(), UNTIL)
    confirmed = Drift(DRIFT_ID, 1, finding(), NOW - POLICY.drift_grace, NOW, None, code, NOW, "ops", None, NOW, 0, None)
    return replace(confirmed, **changes)  # type: ignore[arg-type]


OTHER = finding(told=("database db_s, made again",))


@pytest.mark.parametrize(
    ("row_says", "again", "at", "outcome"),
    [
        (drift(), None, NOW, Settle),
        (drift(), finding(), NOW, Take),
        (drift(), finding(remark="9 MiB"), NOW, Take),
        (drift(), finding(), UNTIL, Refuse),
        (drift(), OTHER, NOW, Refuse),
        (drift(), finding(kept="It is wanted."), NOW, Refuse),
        (drift(first_seen=NOW), finding(), NOW, Refuse),
        (drift(confirmation=None), finding(), NOW, Refuse),
        # begun: finished whatever expires and however little is left, but never of what is wanted again
        (drift(begun_at=NOW), OTHER, UNTIL, Take),
        (drift(begun_at=NOW), finding(kept="It is wanted."), NOW, Refuse),
        (drift(begun_at=NOW), None, UNTIL, Settle),
    ],
)
def test_a_removal_goes_on_only_as_it_was_confirmed(
    row_says: Drift, again: Finding | None, at: datetime, outcome: type
) -> None:
    assert isinstance(decide(row_says, again, at, POLICY), outcome)


def test_a_confirmation_agrees_to_one_thing_and_tells_when_it_ends() -> None:
    code = confirmation(DRIFT_ID, finding(), UNTIL)
    assert expiry(code) == UNTIL
    others = [
        confirmation(DriftId(UUID(int=6)), finding(), UNTIL),
        confirmation(DRIFT_ID, finding(), UNTIL + timedelta(seconds=1)),
        confirmation(DRIFT_ID, OTHER, UNTIL),
        confirmation(DRIFT_ID, finding(server_id=ServerId(UUID(int=2))), UNTIL),
    ]
    assert len({code, *others}) == 5


@pytest.mark.parametrize("nonsense", ["", "-", "zz-0", "f" * 40, "-1"])
def test_what_is_no_confirmation_has_no_end(nonsense: str) -> None:
    assert expiry(nonsense) is None


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"due_at": None}, State.OPEN),
        ({}, State.REMOVING),
        ({"gone_at": NOW, "due_at": None}, State.GONE),
        ({"gone_at": NOW, "due_at": None, "begun_at": NOW}, State.REMOVED),
    ],
)
def test_the_state_follows_from_the_times(changes: dict[str, object], state: State) -> None:
    assert drift(**changes).state is state
