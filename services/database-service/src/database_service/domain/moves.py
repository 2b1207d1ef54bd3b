"""Moves: a tenant's database on its way from one server to another, and what to do next for it.

Until the switch the source counts and everything is undone by forgetting the target; after it the target counts. Either way the
database's own step opens the door that counts, so there is one way in which a database becomes ready.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from database_service.domain.databases import Database
from database_service.domain.databases import Status as DatabaseStatus
from database_service.domain.ids import DatabaseId, OperationId, ServerId
from database_service.domain.plans import ServerType, Tier
from database_service.domain.policy import Policy
from database_service.domain.servers import Health, Server
from database_service.domain.servers import Status as ServerStatus


class Phase(StrEnum):
    SEATING = "seating"
    FENCING = "fencing"
    COPYING = "copying"
    VERIFYING = "verifying"
    OPENING = "opening"
    REOPENING = "reopening"
    TIDYING = "tidying"
    DONE = "done"
    UNDONE = "undone"


TRANSITIONS: Mapping[Phase, frozenset[Phase]] = {
    Phase.SEATING: frozenset({Phase.FENCING, Phase.REOPENING}),
    Phase.FENCING: frozenset({Phase.COPYING, Phase.VERIFYING, Phase.REOPENING}),
    Phase.COPYING: frozenset({Phase.VERIFYING, Phase.REOPENING}),
    Phase.VERIFYING: frozenset({Phase.OPENING, Phase.REOPENING}),
    Phase.OPENING: frozenset({Phase.TIDYING}),
    Phase.REOPENING: frozenset({Phase.TIDYING}),
    Phase.TIDYING: frozenset({Phase.DONE, Phase.UNDONE}),
    Phase.DONE: frozenset(),
    Phase.UNDONE: frozenset(),
}
"""fencing → verifying is a move back: what is kept on the other server is compared, and nothing is copied."""

BEFORE_SWITCH = frozenset({Phase.SEATING, Phase.FENCING, Phase.COPYING, Phase.VERIFYING})
SHUT = BEFORE_SWITCH - {Phase.SEATING}
"""The database is `moving`, and nobody can use it."""
CANCELLED = "it was cancelled"
LEAST_DOWNTIME = timedelta(seconds=1.5)
"""Ending sessions, starting programs, comparing catalogs."""
_COMING = frozenset({ServerStatus.PROVISIONING, ServerStatus.INITIALIZING})


@dataclass(frozen=True, slots=True)
class Terms:
    """What a database is entitled to: its plan, and the kind of server it sits on."""

    plan_tier: Tier
    server_type: ServerType
    require_dedicated: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """One database's move as its row tells it. Times are aware UTC."""

    operation_id: OperationId
    ordinal: int
    database_id: DatabaseId
    source_id: ServerId
    target_id: ServerId | None
    """The server it goes to: as it was asked for, else as a seat was found."""
    twin_id: DatabaseId | None
    """The row that holds its seat on the other server: the target's before the switch, the source's after it."""
    before: Terms
    after: Terms
    back: bool
    """To where it came from: what is kept there is the copy."""
    phase: Phase
    phase_since: datetime
    attempt: int
    """How many copies were begun."""
    tries: int
    """How often this phase was begun, and cut off but for the last time."""
    stale: tuple[str, ...]
    """What earlier attempts were called on the target."""
    mover_role: str
    mover_password_sealed: bytes
    size_bytes: int | None
    fraction: float | None
    kept_until: datetime | None
    """Until when the copy that no longer counts is kept."""
    fenced_at: datetime | None
    switched_at: datetime | None
    opened_at: datetime | None
    undone_why: str | None

    @property
    def downtime(self) -> timedelta | None:
        """How long nobody could use the database; None while that is not over, or where its door was never shut."""
        return self.opened_at - self.fenced_at if self.opened_at and self.fenced_at else None

    def become(self, phase: Phase, now: datetime) -> "Move":
        return replace(self, phase=phase, phase_since=now, fraction=None, tries=0)

    def undone(self, why: str, now: datetime) -> "Move":
        return replace(self.become(Phase.REOPENING, now), undone_why=why)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a move is about, as the rows say now."""

    database: Database
    target: Server | None
    twin: Database | None
    cancelled: bool


# -- what to do next --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TakeSeat:
    """Find it a place on another server, or order one."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Look whether it can be moved at all; then shut its door."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Nobody can write any more."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Under a name of this attempt alone."""


@dataclass(frozen=True, slots=True)
class Compare:
    """And, where both are the same, switch."""


@dataclass(frozen=True, slots=True)
class TurnBack:
    """The source stays what it is."""

    why: str


@dataclass(frozen=True, slots=True)
class AwaitOpen:
    """The database's own step opens the door that counts."""


@dataclass(frozen=True, slots=True)
class Tidy:
    """Remove what only the move needed."""

    why: str | None = None
    """What did not go well on the way, where something did not."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Not yet."""

    why: str


@dataclass(frozen=True, slots=True)
class Rest:
    """It is over."""


Next = TakeSeat | Survey | Fence | Copy | Compare | TurnBack | AwaitOpen | Tidy | Hold | Rest


def decide(move: Move, sight: Sight, now: datetime, policy: Policy) -> Next:
    """The one next thing to do for this move. Pure and total."""
    if move.phase in BEFORE_SWITCH and (why := _why_not(move, sight, now, policy)):
        return TurnBack(why)
    match move.phase:
        case Phase.SEATING:
            return _seating(sight)
        case Phase.FENCING:
            return Fence()
        case Phase.COPYING:
            return Copy()
        case Phase.VERIFYING:
            return Compare()
        case Phase.OPENING | Phase.REOPENING:
            return _opening(move, sight, now, policy)
        case Phase.TIDYING:
            return Tidy()
        case Phase.DONE | Phase.UNDONE:
            return Rest()


def _why_not(move: Move, sight: Sight, now: datetime, policy: Policy) -> str | None:
    """Why a move that has not been switched is not to be."""
    if sight.cancelled:
        return CANCELLED
    expected = DatabaseStatus.MOVING if move.phase in SHUT else DatabaseStatus.READY
    if sight.database.status is not expected or sight.database.server_id != move.source_id:
        return f"the database is {sight.database.status}"
    if move.twin_id and (sight.twin is None or sight.twin.status is not DatabaseStatus.LANDING):
        return "its place on the other server was taken away"
    if move.phase in SHUT and move.tries >= policy.move_attempts:
        return f"it was cut off {move.tries} times while {move.phase}"
    if move.phase is Phase.SEATING and now - move.phase_since > policy.move_seat_timeout:
        return f"there was no place for it within {policy.move_seat_timeout}"
    if sight.target and sight.target.cordoned and not move.back:
        return f"the server {sight.target.name} is cordoned"
    return _why_not_there(sight.target)


def _why_not_there(target: Server | None) -> str | None:
    if target is None or target.status is ServerStatus.ACTIVE or target.status in _COMING:
        return None
    why = f": {target.last_error}" if target.last_error else ""
    return f"the server {target.name} is {target.status}{why}"


def _seating(sight: Sight) -> Next:
    if sight.twin is None:
        return TakeSeat()
    if sight.target is None or sight.target.status in _COMING:
        return Hold(f"the server {sight.target.name if sight.target else 'it goes to'} is being made")
    if sight.target.health is Health.UNHEALTHY:
        return Hold(f"the server {sight.target.name} is unhealthy")
    return Survey()


def _opening(move: Move, sight: Sight, now: datetime, policy: Policy) -> Next:
    if sight.database.status is not DatabaseStatus.CREATING:
        return Tidy()
    why = f"its door is not open yet: {sight.database.last_error or 'that is being done'}"
    late = now - move.phase_since > policy.move_open_timeout
    return Tidy(why) if late else AwaitOpen()


def estimated_downtime(size_bytes: int, bytes_per_s: float) -> timedelta:
    """How long its door would be shut: what every move takes, and what its size takes."""
    return LEAST_DOWNTIME + timedelta(seconds=size_bytes / bytes_per_s)
