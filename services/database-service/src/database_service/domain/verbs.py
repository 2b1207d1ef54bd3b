"""What may be done with a thing in the state it is in, so that people are offered what is not refused for its state alone.

What an action refuses it finds out itself, under a lock; this is for who looks.
"""

from enum import StrEnum

from database_service.domain import databases, servers
from database_service.domain.operations import AT_REST, CAME_TO_NOTHING, ON_SERVERS, OVER, Kind, State
from database_service.domain.plans import ServerType


class OfServer(StrEnum):
    CHECK = "check"
    CORDON = "cordon"
    UNCORDON = "uncordon"
    DRAIN = "drain"
    RETIRE = "retire"


class OfDatabase(StrEnum):
    REVEAL = "reveal"
    ROTATE = "rotate"
    PLAN = "plan"
    PROTECT = "protect"
    UNPROTECT = "unprotect"
    MOVE = "move"
    RELEASE = "release"
    UNDELETE = "undelete"


class OfOperation(StrEnum):
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"
    ROLLBACK = "rollback"


_LEAVING = frozenset({servers.Status.DEPROVISIONING, servers.Status.GONE})
_CLOSED = frozenset({databases.Status.RELEASING, databases.Status.RELEASED})


def of_server(status: servers.Status, server_type: ServerType, *, cordoned: bool) -> frozenset[OfServer]:
    """A server of one database is not drained: that one is moved by its plan, or leaves with its server."""
    if status in _LEAVING:
        return frozenset()
    verbs = {OfServer.CHECK, OfServer.UNCORDON if cordoned else OfServer.CORDON, OfServer.RETIRE}
    return frozenset(verbs | {OfServer.DRAIN} if server_type is ServerType.SHARED else verbs)


def of_database(status: databases.Status, server_type: ServerType, *, protected: bool) -> frozenset[OfDatabase]:
    """Of one that is somebody's. Protected, it is kept until the protection is lifted."""
    if status is databases.Status.PURGED:
        return frozenset()
    verbs = {OfDatabase.UNPROTECT if protected else OfDatabase.PROTECT}
    if status is databases.Status.READY:
        verbs |= {OfDatabase.REVEAL, OfDatabase.ROTATE, OfDatabase.PLAN}
        verbs |= {OfDatabase.MOVE} if server_type is ServerType.SHARED else set()
    if status in _CLOSED:
        verbs.add(OfDatabase.UNDELETE)
    elif not protected:
        verbs.add(OfDatabase.RELEASE)
    return frozenset(verbs)


def of_operation(kind: Kind, state: State) -> frozenset[OfOperation]:
    """Only what moved databases is taken back."""
    verbs = set[OfOperation]()
    if state not in AT_REST:
        verbs.add(OfOperation.PAUSE)
    if state is State.PAUSED:
        verbs.add(OfOperation.RESUME)
    if state not in OVER:
        verbs.add(OfOperation.CANCEL)
    if state in CAME_TO_NOTHING and kind is not Kind.ROLLBACK:
        verbs.add(OfOperation.RETRY)
    if state in OVER and kind not in ON_SERVERS:
        verbs.add(OfOperation.ROLLBACK)
    return frozenset(verbs)
