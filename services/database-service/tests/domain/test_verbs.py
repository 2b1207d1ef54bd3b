"""What people are offered to do with a thing, by its state."""

from itertools import product

import pytest

from database_service.domain.databases import Status
from database_service.domain.operations import Kind, State
from database_service.domain.plans import ServerType
from database_service.domain.servers import Status as ServerStatus
from database_service.domain.verbs import OfDatabase, of_database, of_operation, of_server

SHARED, DEDICATED = ServerType.SHARED, ServerType.DEDICATED
ALIVE = list(product((status for status in Status if status is not Status.PURGED), ServerType))


@pytest.mark.parametrize("status", ServerStatus)
def test_what_leaves_is_left_alone(status: ServerStatus) -> None:
    offered = of_server(status, SHARED, cordoned=False)
    leaves = status in (ServerStatus.DEPROVISIONING, ServerStatus.GONE)
    assert offered == (set() if leaves else {"check", "cordon", "drain", "retire"})


def test_a_cordon_is_lifted_or_set_and_a_server_of_one_database_is_not_drained() -> None:
    assert of_server(ServerStatus.ACTIVE, SHARED, cordoned=True) == {"check", "uncordon", "drain", "retire"}
    assert of_server(ServerStatus.ACTIVE, DEDICATED, cordoned=False) == {"check", "cordon", "retire"}


@pytest.mark.parametrize(
    ("status", "offered"),
    [
        (Status.WAITING, {"protect", "release"}),
        (Status.CREATING, {"protect", "release"}),
        (Status.MOVING, {"protect", "release"}),
        (Status.READY, {"reveal", "rotate", "plan", "move", "protect", "release"}),
        (Status.RELEASING, {"protect", "undelete"}),
        (Status.RELEASED, {"protect", "undelete"}),
        (Status.PURGED, set()),
    ],
)
def test_a_database_is_offered_what_its_state_allows(status: Status, offered: set[str]) -> None:
    assert of_database(status, SHARED, protected=False) == offered


@pytest.mark.parametrize(("status", "server_type"), ALIVE)
def test_what_is_protected_is_released_only_after_that_is_lifted(status: Status, server_type: ServerType) -> None:
    offered = of_database(status, server_type, protected=True)
    assert OfDatabase.RELEASE not in offered
    assert {OfDatabase.PROTECT, OfDatabase.UNPROTECT} & offered == {OfDatabase.UNPROTECT}


def test_a_database_with_a_server_of_its_own_is_not_moved_to_a_pool() -> None:
    shared, own = (of_database(Status.READY, where, protected=False) for where in (SHARED, DEDICATED))
    assert shared - own == {OfDatabase.MOVE}


@pytest.mark.parametrize(
    ("kind", "state", "offered"),
    [
        (Kind.MOVE, State.PENDING, {"pause", "cancel"}),
        (Kind.MOVE, State.RUNNING, {"pause", "cancel"}),
        (Kind.MOVE, State.PAUSED, {"resume", "cancel"}),
        (Kind.MOVE, State.SUCCEEDED, {"rollback"}),
        (Kind.MOVE, State.FAILED, {"retry", "rollback"}),
        (Kind.MOVE, State.CANCELLED, {"retry", "rollback"}),
        (Kind.ROLLBACK, State.FAILED, {"rollback"}),
        (Kind.ROLLOUT, State.SUCCEEDED, set()),
        (Kind.ROLLOUT, State.FAILED, {"retry"}),
    ],
)
def test_an_operation_is_steered_while_it_goes_on_and_taken_back_where_it_moved_something(
    kind: Kind, state: State, offered: set[str]
) -> None:
    assert of_operation(kind, state) == offered
