"""Instances: what they are, what was seen of them, and what to do next."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from instance_service.domain.databases import DatabaseSeen, State
from instance_service.domain.ids import CustomerId, InstanceId
from instance_service.domain.plans import SIZES, Tier
from instance_service.domain.policy import Policy
from instance_service.domain.workloads import Address, Login, Presence, Seen, WorkloadSpec


class Status(StrEnum):
    PENDING = "pending"
    WAITING_FOR_DATABASE = "waiting_for_database"
    STARTING = "starting"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"
    STOPPING = "stopping"
    STOPPED = "stopped"
    CHANGING_PLAN = "changing_plan"
    ROTATING = "rotating"
    DELETING = "deleting"
    DELETED = "deleted"
    ERROR = "error"


class Wanted(StrEnum):
    """What a caller wants an instance to be, whatever is being done to it."""

    RUNNING = "running"
    STOPPED = "stopped"


_STEADY = frozenset({Status.STARTING, Status.STOPPING, Status.CHANGING_PLAN, Status.ROTATING, Status.DELETING})

TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset(
        {Status.WAITING_FOR_DATABASE, Status.STARTING, Status.STOPPING, Status.ERROR, Status.DELETING}
    ),
    Status.WAITING_FOR_DATABASE: frozenset(
        {Status.PENDING, Status.STARTING, Status.STOPPING, Status.ERROR, Status.DELETING}
    ),
    Status.STARTING: frozenset({Status.RUNNING, Status.STOPPING, Status.ERROR, Status.DELETING}),
    Status.RUNNING: _STEADY | {Status.UNHEALTHY, Status.ERROR},
    Status.UNHEALTHY: _STEADY | {Status.RUNNING, Status.ERROR},
    Status.STOPPING: frozenset({Status.STOPPED, Status.STARTING, Status.PENDING, Status.DELETING}),
    Status.STOPPED: frozenset(
        {Status.STARTING, Status.PENDING, Status.CHANGING_PLAN, Status.ROTATING, Status.DELETING}
    ),
    Status.CHANGING_PLAN: frozenset({Status.STARTING, Status.STOPPING, Status.DELETING}),
    Status.ROTATING: frozenset({Status.STARTING, Status.STOPPING, Status.DELETING}),
    Status.DELETING: frozenset({Status.DELETED}),
    Status.DELETED: frozenset(),
    Status.ERROR: frozenset({Status.PENDING, Status.STARTING, Status.STOPPING, Status.RUNNING, Status.DELETING}),
}
"""Every move between states there is; the events and the tests follow it."""

RESTING = frozenset({Status.STOPPED, Status.DELETED})
"""Nothing is done to these until somebody wants something."""

ENDED = frozenset({Status.DELETING, Status.DELETED})
"""For good: these are never anything else again."""

SETTLED = frozenset({Status.RUNNING, Status.UNHEALTHY, Status.STOPPED, Status.DELETED, Status.ERROR})
"""What a caller who waits is waiting for: nothing more happens by itself that they asked for."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a caller wants run. Equal asks are the same wish."""

    name: str
    customer_id: CustomerId
    plan_tier: Tier
    image: str | None
    command: tuple[str, ...]
    env: Mapping[str, str]

    def differences(self, other: "Ask") -> tuple[str, ...]:
        """Fields that differ."""
        return tuple(field for field in self.__slots__ if getattr(self, field) != getattr(other, field))


@dataclass(frozen=True, slots=True)
class Given:
    """What a workload was last told to run with. No secret: the password is read anew each time one is started."""

    database: Address
    user: str
    version: str
    """`WorkloadSpec.version`."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance as our row tells it. Times are aware UTC."""

    id: InstanceId
    seq: int
    ask: Ask
    plan_tier: Tier
    """The plan it is to have; it differs from `placed_tier` while that is being changed."""
    placed_tier: Tier
    wanted: Wanted
    status: Status
    status_since: datetime
    given: Given | None
    """None until a workload was started."""
    address: Address | None
    """Where its workload was last seen to answer HTTP."""
    errand: UUID | None
    """Names the rotation or change of plan in hand, so that database-service does it once however often it is asked."""
    operation_id: UUID | None
    """Database-service's operation that changes the plan."""
    progress: Mapping[str, object] | None
    """What that operation last told."""
    budget_until: datetime
    """Until then its database is waited for."""
    failures: int
    """Looks in a row that found a running workload unwell."""
    due_at: datetime | None
    version: int
    attempts: int
    last_error: str | None
    created_at: datetime
    deleted_at: datetime | None

    @property
    def to_be(self) -> Status:
        """The way to what is wanted, once its database is there."""
        return Status.STARTING if self.wanted is Wanted.RUNNING else Status.STOPPING

    def spec(self, login: Login) -> WorkloadSpec:
        """What it is to run with this login."""
        size = SIZES[self.placed_tier]
        return WorkloadSpec(
            id=self.id,
            name=self.ask.name,
            login=login,
            image=self.ask.image,
            command=self.ask.command,
            env=self.ask.env,
            cpu_limit=size.cpu,
            memory_limit=size.memory_bytes,
        )


_NOT_SEEN = Seen(Presence.UNKNOWN)
_NOT_ASKED = DatabaseSeen(State.UNKNOWN)


@dataclass(frozen=True, slots=True)
class World:
    """What was seen at one look; what a status is not decided by is not looked at."""

    workload: Seen = _NOT_SEEN
    database: DatabaseSeen = _NOT_ASKED


LOOKS_AT_WORKLOAD = frozenset(
    {
        Status.STARTING,
        Status.RUNNING,
        Status.UNHEALTHY,
        Status.CHANGING_PLAN,
        Status.ROTATING,
        Status.DELETING,
        Status.ERROR,
    }
)
LOOKS_AT_DATABASE = frozenset(
    {
        Status.PENDING,
        Status.WAITING_FOR_DATABASE,
        Status.STARTING,
        Status.RUNNING,
        Status.UNHEALTHY,
        Status.CHANGING_PLAN,
        Status.ROTATING,
        Status.ERROR,
    }
)


# -- moves ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Allocate:
    """Ask for its database; asked again, the same one."""


@dataclass(frozen=True, slots=True)
class Ensure:
    """Have its workload run with the credentials of now. `failed`: it should have been running already."""

    why: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """End its workload."""


@dataclass(frozen=True, slots=True)
class Remove:
    """End its workload, and leave nothing of it."""


@dataclass(frozen=True, slots=True)
class Release:
    """Give its database back; database-service keeps the data for the plan's grace."""


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """Ask for its database to be of the plan it is to have."""


@dataclass(frozen=True, slots=True)
class Follow:
    """See how far that change is."""

    operation_id: UUID


@dataclass(frozen=True, slots=True)
class Rotate:
    """Ask for a new login; those before work on for the overlap."""


@dataclass(frozen=True, slots=True)
class Become:
    """Only the row changes."""

    status: Status
    why: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now; `failed` counts as an attempt."""

    why: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Rest:
    """As it should be, or not yet ill enough to be called so: the next look tells."""

    why: str = ""


Move = Allocate | Ensure | Stop | Remove | Release | ChangePlan | Follow | Rotate | Become | Wait | Rest


def decide(instance: Instance, world: World, now: datetime, policy: Policy) -> Move:
    """The one next move for this instance. Pure, total: every state with every observation has an answer."""
    match instance.status:
        case Status.PENDING:
            return _ask(instance, world.database, now)
        case Status.WAITING_FOR_DATABASE:
            return _await_database(instance, world.database, now)
        case Status.STARTING:
            return _bring_up(instance, world, now, policy)
        case Status.RUNNING | Status.UNHEALTHY:
            return _keep_up(instance, world, policy)
        case Status.STOPPING:
            return Stop()
        case Status.CHANGING_PLAN:
            change = Follow(instance.operation_id) if instance.operation_id else ChangePlan()
            return _meanwhile(instance, world, policy) or change
        case Status.ROTATING:
            return _meanwhile(instance, world, policy) or Rotate()
        case Status.DELETING:
            return _take_down(world.workload)
        case Status.ERROR:
            return _recover(instance, world)
        case Status.STOPPED | Status.DELETED:
            return Rest()


def _ask(instance: Instance, database: DatabaseSeen, now: datetime) -> Move:
    """One that is there is not asked for: it may have been given another plan than the one it was asked for with."""
    if database.state is State.READY:
        return Become(instance.to_be)
    if now >= instance.budget_until:
        return Become(Status.ERROR, instance.last_error or "its database could not be asked for in time")
    return Allocate()


def _await_database(instance: Instance, database: DatabaseSeen, now: datetime) -> Move:
    if database.state is State.READY:
        return Become(instance.to_be)
    if database.state is State.ENDED:
        return Become(Status.ERROR, database.detail or "its database was released")
    if now >= instance.budget_until:
        return Become(Status.ERROR, f"its database was not ready in time: {database.detail or database.state}")
    if database.state is State.ABSENT:
        return Become(Status.PENDING, "nobody knows of its database")
    return Wait(database.detail or f"its database is {database.state}")


def _bring_up(instance: Instance, world: World, now: datetime, policy: Policy) -> Move:
    late = now - instance.status_since
    if (login := world.database.login) is None:
        return _without_database(world.database, late > policy.database_budget)
    if world.workload.presence is Presence.UNKNOWN:
        return _or_error(Wait(world.workload.detail or "its workload cannot be looked at"), late > policy.start_timeout)
    wanted = instance.spec(login).version
    if instance.given is None or instance.given.version != wanted:
        tried = instance.attempts >= policy.start_attempts
        return _or_error(Ensure(_why_new(instance.given, login)), tried, instance.last_error)
    if _runs_well(world.workload, wanted):
        return Become(Status.RUNNING)
    complaint = world.workload.detail or f"its workload is {world.workload.presence}, and not yet well"
    if _is_down(world.workload) or world.workload.version not in (None, wanted):
        return _or_error(Ensure(complaint, failed=True), instance.attempts >= policy.start_attempts)
    return _or_error(Wait(complaint), late > policy.start_timeout)


def _or_error(move: Ensure | Wait, enough: bool, why: str | None = None) -> Move:
    return Become(Status.ERROR, why or move.why) if enough else move


def _without_database(database: DatabaseSeen, late: bool) -> Move:
    """One that was in use is never replaced by a new one, which would be empty."""
    if database.state in (State.ABSENT, State.ENDED):
        return Become(Status.ERROR, database.detail or "database-service no longer knows its database")
    return _or_error(Wait(database.detail or f"its database is {database.state}"), late)


def _why_new(given: Given | None, login: Login) -> str:
    if given is None:
        return ""
    if given.database != login.address:
        return f"its database moved to {login.address.host}:{login.address.port}"
    return "its login was changed" if given.user != login.user else "what it runs was changed"


def _runs_well(workload: Seen, version: str) -> bool:
    return workload.presence is Presence.RUNNING and workload.healthy and workload.version == version


def _is_down(workload: Seen) -> bool:
    return workload.presence in (Presence.ABSENT, Presence.STOPPED)


def _keep_up(instance: Instance, world: World, policy: Policy) -> Move:
    """What cannot be looked at changes nothing: neither is a workload ill because its runner, nor because database-service
    is away."""
    login = world.database.login
    if login and instance.given and instance.given.version != instance.spec(login).version:
        return Become(Status.STARTING, _why_new(instance.given, login))
    if world.workload.presence is Presence.UNKNOWN:
        return Rest(world.workload.detail)
    if _is_down(world.workload):
        return Become(Status.STARTING, world.workload.detail or "its workload ended")
    return _assess(instance, world, policy)


def _assess(instance: Instance, world: World, policy: Policy) -> Move:
    if world.workload.healthy:
        return Become(Status.RUNNING) if instance.status is Status.UNHEALTHY else Rest()
    complaint = _complaint(world)
    if instance.status is Status.RUNNING and instance.failures + 1 >= policy.health_failures:
        return Become(Status.UNHEALTHY, complaint)
    return Rest(complaint)


def _complaint(world: World) -> str:
    """An instance without its database is not well, and that is then why."""
    if world.database.state in (State.MOVING, State.ENDED, State.ABSENT):
        return world.database.detail or f"its database is {world.database.state}"
    return world.workload.detail or "its health check fails"


def _meanwhile(instance: Instance, world: World, policy: Policy) -> Ensure | None:
    """What dies while something is done to its database is begun again, which, if it comes to nothing, does not hold that up."""
    is_to_run = instance.wanted is Wanted.RUNNING and instance.given is not None and world.database.login is not None
    if is_to_run and _is_down(world.workload) and instance.attempts < policy.start_attempts:
        return Ensure(world.workload.detail or "its workload ended", failed=True)
    return None


def _take_down(workload: Seen) -> Move:
    if workload.presence is Presence.UNKNOWN:
        return Wait(workload.detail or "its workload cannot be looked at", failed=True)
    return Release() if workload.presence is Presence.ABSENT else Remove()


def _recover(instance: Instance, world: World) -> Move:
    """Tried again slowly, and back by itself once the cause is gone. It stays in error meanwhile: an instance that cannot run
    would else fill its events for ever."""
    if (login := world.database.login) is None:
        if instance.given is None:
            return Allocate()
        return Wait(world.database.detail or f"its database is {world.database.state}")
    if instance.wanted is Wanted.STOPPED:
        return Become(instance.to_be)
    wanted = instance.spec(login).version
    told = instance.given is not None and instance.given.version == wanted
    if told and _runs_well(world.workload, wanted):
        return Become(Status.RUNNING, "it answers again")
    if not told or _is_down(world.workload):
        return Ensure(instance.last_error or world.workload.detail, failed=True)
    return Wait(world.workload.detail or "its health check fails")
