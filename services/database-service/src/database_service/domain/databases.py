"""Tenant databases: what was asked, what they are, and what to do next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum

from database_service.domain.ids import CustomerId, DatabaseId, InstanceId, LoginId, ServerId
from database_service.domain.plans import ServerType, Tier
from database_service.domain.usage import Stop


class Status(StrEnum):
    WAITING = "waiting"
    CREATING = "creating"
    SPARE = "spare"
    READY = "ready"
    MOVING = "moving"
    LANDING = "landing"
    RELEASING = "releasing"
    RELEASED = "released"
    PURGED = "purged"


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.WAITING: frozenset({Status.CREATING, Status.PURGED}),
    Status.CREATING: frozenset({Status.SPARE, Status.READY, Status.RELEASING, Status.PURGED}),
    Status.SPARE: frozenset({Status.READY, Status.CREATING, Status.PURGED}),
    Status.READY: frozenset({Status.RELEASING, Status.MOVING}),
    Status.MOVING: frozenset({Status.CREATING, Status.RELEASING}),
    Status.LANDING: frozenset({Status.RELEASED, Status.PURGED}),
    Status.RELEASING: frozenset({Status.RELEASED, Status.CREATING, Status.PURGED}),
    Status.RELEASED: frozenset({Status.CREATING, Status.LANDING, Status.PURGED}),
    Status.PURGED: frozenset(),
}
"""spare → creating is a claim that still needs a rename; releasing or released → creating is an undelete that reopens the
door. purged is the point of no return, recorded before anything is deleted, so an undelete can never be promised too late.
landing is the seat of a database that is moving there; released after it is what the database has left behind, and landing
again where it goes back. moving → creating opens the door again, on whichever server counts then."""

DEFAULT_TEMPLATE = "default"
TEMPLATES = frozenset({DEFAULT_TEMPLATE})


@dataclass(frozen=True, slots=True)
class Ask:
    """An allocation as it was asked for. The same ask again gets the same answer; another one is refused."""

    instance_id: InstanceId
    customer_id: CustomerId
    plan_tier: Tier
    server_type: ServerType
    require_dedicated: bool = False
    database_name: str | None = None
    template: str = DEFAULT_TEMPLATE

    def differences(self, other: "Ask") -> tuple[str, ...]:
        """Names of the fields in which the two differ."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name))


@dataclass(frozen=True, slots=True)
class Database:
    """One tenant database as our row tells it."""

    id: DatabaseId
    status: Status
    status_since: datetime
    ask: Ask | None
    """None for a spare: nobody asked yet."""
    plan_tier: Tier
    limits_tier: Tier | None
    """The plan whose limits are set on the server; None before the first build."""
    template: str
    server_id: ServerId | None
    name: str
    """The name the caller sees; stored before it is used."""
    physical_name: str | None
    """The name it has on the server now; None until it was built."""
    owner_role: str
    protected: bool
    purge_after: datetime | None
    due_at: datetime | None
    version: int
    attempts: int
    last_error: str | None
    created_at: datetime
    ready_at: datetime | None
    released_at: datetime | None
    twin_of: DatabaseId | None = None
    """The database whose seat on another server this is; None for one of its own."""
    rank: int | None = None
    """Its slot's place in the order seats are taken."""
    stop: Stop | None = Stop.NONE
    """What its server was last told that it may no longer do; None where the server is to be told again."""
    stop_wanted: Stop = Stop.NONE
    """What follows from its size and its plan."""

    @property
    def instance_id(self) -> InstanceId | None:
        return self.ask.instance_id if self.ask else None

    @property
    def built(self) -> bool:
        return self.physical_name is not None


class LoginState(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Login:
    """A role that can log in to one database. Its password is sealed; `expires_at` is when it stops working."""

    id: LoginId
    database_id: DatabaseId
    role: str
    password_sealed: bytes
    state: LoginState
    created_at: datetime
    expires_at: datetime | None


# -- moves ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seat:
    """Find it a spare or a slot."""


@dataclass(frozen=True, slots=True)
class Build:
    """Make everything it needs on its server; then it is `status`."""

    status: Status


@dataclass(frozen=True, slots=True)
class ApplyLimits:
    """Set the limits of its plan on the server."""


@dataclass(frozen=True, slots=True)
class SetStop:
    """Have its server allow and refuse what it now may and may not do."""

    stop: Stop


@dataclass(frozen=True, slots=True)
class MakeLogin:
    login: Login


@dataclass(frozen=True, slots=True)
class DropLogin:
    login: Login


@dataclass(frozen=True, slots=True)
class Close:
    """Shut the door (no login, no session), keep the data."""


@dataclass(frozen=True, slots=True)
class Purge:
    """Past its grace: from here on it cannot be taken back."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Delete data and roles, and give the slot back."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do before `until`; None means until something changes."""

    until: datetime | None = None


Move = Seat | Build | ApplyLimits | SetStop | MakeLogin | DropLogin | Close | Purge | Drop | Rest


def decide(database: Database, logins: Sequence[Login], now: datetime) -> Move:
    """The one next move for this database. Pure and total."""
    match database.status:
        case Status.WAITING:
            return Seat()
        case Status.CREATING:
            return Build(Status.READY if database.ask else Status.SPARE)
        case Status.READY:
            return _tend(database, logins, now)
        case Status.RELEASING:
            return Purge() if _past_grace(database, now) else Close()
        case Status.RELEASED:
            return _outlive_grace(database, now)
        case Status.PURGED:
            return Drop() if database.server_id else Rest()
        case Status.SPARE | Status.MOVING | Status.LANDING:
            return Rest()


def _tend(database: Database, logins: Sequence[Login], now: datetime) -> Move:
    if database.limits_tier is not database.plan_tier:
        return ApplyLimits()
    if database.stop is not database.stop_wanted:
        return SetStop(database.stop_wanted)
    for login in logins:
        if login.state is LoginState.PENDING:
            return MakeLogin(login)
    ending = sorted(
        (e, login.role, login) for login in logins if (e := login.expires_at) and login.state is LoginState.ACTIVE
    )
    if not ending:
        return Rest()
    soonest, _, login = ending[0]
    return DropLogin(login) if soonest <= now else Rest(until=soonest)


def _outlive_grace(database: Database, now: datetime) -> Move:
    if database.protected:
        return Rest()
    return Purge() if _past_grace(database, now) else Rest(until=database.purge_after)


def _past_grace(database: Database, now: datetime) -> bool:
    """Also one whose server never answered to have its door closed: it is not kept for ever."""
    return not database.protected and database.purge_after is not None and now >= database.purge_after
