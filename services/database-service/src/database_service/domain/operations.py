"""Operations: long work on several subjects, one after the other, that can be followed, paused and cancelled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from database_service.domain.errors import OperationOver
from database_service.domain.ids import OperationId
from database_service.domain.policy import Policy
from database_service.domain.servers import Health, Server, Status


class Kind(StrEnum):
    ROLLOUT = "rollout"
    ROTATE_ADMIN_PASSWORD = "rotate_admin_password"  # noqa: S105  a kind of work
    CHANGE_PLAN = "change_plan"
    MOVE = "move"
    DRAIN = "drain"
    REBALANCE = "rebalance"
    ROLLBACK = "rollback"


class State(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    UNDOING = "undoing"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Wish(StrEnum):
    """What somebody asked for while a step was in hand; it takes effect between two steps."""

    PAUSE = "pause"
    CANCEL = "cancel"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset({State.RUNNING, State.FAILED, State.CANCELLED}),
    State.RUNNING: frozenset({State.PAUSED, State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    State.PAUSED: frozenset({State.RUNNING, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

STEP_TRANSITIONS: Mapping[StepState, frozenset[StepState]] = {
    StepState.PENDING: frozenset({StepState.RUNNING, StepState.SKIPPED, StepState.FAILED, StepState.CANCELLED}),
    StepState.RUNNING: frozenset(
        {StepState.UNDOING, StepState.SUCCEEDED, StepState.SKIPPED, StepState.FAILED, StepState.CANCELLED}
    ),
    StepState.UNDOING: frozenset({StepState.SKIPPED, StepState.FAILED}),
    StepState.SUCCEEDED: frozenset(),
    StepState.SKIPPED: frozenset(),
    StepState.FAILED: frozenset(),
    StepState.CANCELLED: frozenset(),
}

ON_SERVERS = frozenset({Kind.ROLLOUT, Kind.ROTATE_ADMIN_PASSWORD})
"""Kinds that change servers; the others are about tenants' databases."""

INDEPENDENT = frozenset({Kind.DRAIN, Kind.REBALANCE, Kind.ROLLBACK})
"""Kinds whose steps have nothing to do with each other: one that fails keeps none of the others from being made."""

OVER = frozenset(state for state, after in TRANSITIONS.items() if not after)
AT_REST = OVER | {State.PAUSED}
CAME_TO_NOTHING = frozenset({State.FAILED, State.CANCELLED})
IN_HAND = frozenset({StepState.RUNNING, StepState.UNDOING})
_ENDS_OF_WISHES: Mapping[Wish, State] = {Wish.PAUSE: State.PAUSED, Wish.CANCEL: State.CANCELLED}


@dataclass(frozen=True, slots=True)
class Values:
    """What of a server a rollout can change. Memory is bytes."""

    image: str | None
    memory_limit: int
    cpu_limit: float
    max_instances: int
    tls: bool = False

    @classmethod
    def of(cls, server: Server) -> "Values":
        return cls(server.image, server.memory_limit, server.cpu_limit, server.max_instances, server.tls is not None)


@dataclass(frozen=True, slots=True)
class Target:
    """What a rollout was asked for; None stays as it is. `pinned` is the image as it was found at the start."""

    image: str | None = None
    pinned: str | None = None
    memory_limit: int | None = None
    cpu_limit: float | None = None
    max_instances: int | None = None
    tls: bool | None = None
    """They are to speak TLS; one that does already goes on doing so."""

    @property
    def restarts(self) -> bool:
        """It asks for more than room."""
        return self.image is not None or self.memory_limit is not None or self.cpu_limit is not None or bool(self.tls)

    @property
    def empty(self) -> bool:
        return not self.restarts and self.max_instances is None

    def over(self, before: Values) -> Values:
        return Values(
            image=self.pinned or before.image,
            memory_limit=self.memory_limit or before.memory_limit,
            cpu_limit=self.cpu_limit or before.cpu_limit,
            max_instances=self.max_instances or before.max_instances,
            tls=bool(self.tls) or before.tls,
        )


@dataclass(frozen=True, slots=True)
class Operation:
    """One piece of long work as its row tells it. Times are aware UTC."""

    id: OperationId
    seq: int
    kind: Kind
    state: State
    state_since: datetime
    target: Target
    wish: Wish | None
    created_by: str
    due_at: datetime | None
    version: int
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None
    lease_token: UUID | None = None
    """Whose work it is now."""

    def become(self, state: State, now: datetime, error: str | None = None) -> "Operation":
        """In another state: due where that is one of work, without the wish, which is fulfilled or void by it."""
        return replace(
            self,
            state=state,
            state_since=now,
            wish=None if state in AT_REST else self.wish,
            due_at=None if state in AT_REST else now,
            last_error=error,
            finished_at=now if state in OVER else None,
        )

    def look_again(self, at: datetime, why: str | None = None) -> "Operation":
        """Work goes on then; `why` not sooner."""
        return replace(self, due_at=at, last_error=why)


@dataclass(frozen=True, slots=True)
class Step:
    """The work on one subject. `before` and `seen_before` are what it needs to go on, or back, after a crash."""

    operation_id: OperationId
    ordinal: int
    name: str
    subject_id: UUID
    state: StepState
    state_since: datetime
    before: Values | None
    seen_before: str | None
    """When the server that is being replaced was started, in its own words."""
    error: str | None
    started_at: datetime | None
    finished_at: datetime | None

    def become(self, state: StepState, now: datetime, error: str | None = None) -> "Step":
        begun = state is not StepState.PENDING
        return replace(
            self,
            state=state,
            state_since=now,
            seen_before=None,
            error=error or self.error,
            started_at=self.started_at or (now if begun else None),
            finished_at=None if STEP_TRANSITIONS[state] else now,
        )


# -- moves ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepare:
    """Find out whether it can be done at all, before any subject is touched."""


@dataclass(frozen=True, slots=True)
class Begin:
    step: Step


@dataclass(frozen=True, slots=True)
class Carry:
    """Go on with the step in hand, forward or back."""

    step: Step


@dataclass(frozen=True, slots=True)
class Become:
    """Only the rows change."""

    state: State
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Rest:
    """It is over, or waits for somebody."""


Move = Prepare | Begin | Carry | Become | Rest


def decide(operation: Operation, steps: Sequence[Step]) -> Move:
    """The one next move. A step in hand is finished first, whatever is wished; then wishes count, then the next step."""
    if operation.state in AT_REST:
        return Rest()
    if operation.state is State.PENDING:
        return Become(State.CANCELLED) if operation.wish is Wish.CANCEL else Prepare()
    for step in steps:
        if step.state in IN_HAND:
            return Carry(step)
        if step.state is StepState.FAILED and operation.kind not in INDEPENDENT:
            return Become(State.FAILED, _told(step))
    return _between_steps(operation, steps)


def _told(step: Step) -> str:
    return f"{step.name}: {step.error}"


def _between_steps(operation: Operation, steps: Sequence[Step]) -> Move:
    following = next((step for step in steps if step.state is StepState.PENDING), None)
    failed = [step for step in steps if step.state is StepState.FAILED]
    if following is None and failed:
        of_several = f"{len(failed)} of {len(steps)} failed, the first of them " if len(steps) > 1 else ""
        return Become(State.FAILED, of_several + _told(failed[0]))
    if following is None:
        cut_off = any(step.state is StepState.CANCELLED for step in steps)
        return Become(State.CANCELLED if cut_off else State.SUCCEEDED)
    return Become(_ENDS_OF_WISHES[operation.wish]) if operation.wish else Begin(following)


def wished(operation: Operation, steps: Sequence[Step], wish: Wish, now: datetime) -> Operation:
    """The operation once somebody asked for this: at once between steps, else noted. Raises OperationOver.

    Asked again, nothing changes; to cancel counts for more than to pause.
    """
    if operation.state in OVER:
        raise OperationOver(operation.id, operation.state)
    if wish is Wish.PAUSE and (operation.state is State.PAUSED or operation.wish is Wish.CANCEL):
        return operation
    unprepared = operation.state is State.PENDING and wish is Wish.PAUSE
    if unprepared or any(step.state in IN_HAND for step in steps):
        return replace(operation, wish=wish)
    return operation.become(_ENDS_OF_WISHES[wish], now)


def resumed(operation: Operation, now: datetime) -> Operation:
    """It goes on; a pause that did not take effect yet is forgotten. Raises OperationOver."""
    if operation.state in OVER:
        raise OperationOver(operation.id, operation.state)
    if operation.state is State.PAUSED:
        return operation.become(State.RUNNING, now)
    return replace(operation, wish=None) if operation.wish is Wish.PAUSE else operation


# -- the change of one server -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sight:
    """A server that is being changed, as its row says after a look. `differs` is what its provisioner still finds."""

    server: Server
    differs: Sequence[str] = ()
    refused: str | None = None
    """Why it could not be changed: no reason to wait any longer."""
    trouble: str | None = None
    """Why nobody could tell, this time."""

    @property
    def complaint(self) -> str:
        found = (self.refused, self.trouble, *self.differs, self.server.health_message, self.server.last_error)
        return next(filter(None, found), "it has not been seen well yet").rstrip(".")


@dataclass(frozen=True, slots=True)
class Done:
    """It is as it should be, and well."""


@dataclass(frozen=True, slots=True)
class TurnBack:
    """The change failed: everything as it was before."""

    why: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nor does it come back: an operator has to look."""

    why: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Not yet."""

    why: str


Verdict = Done | TurnBack | GiveUp | Hold


def judge(step: Step, sight: Sight, now: datetime, policy: Policy) -> Verdict:
    """What has become of a server that is being changed, or put back."""
    if _really_well(step, sight):
        return Done()
    late = now - step.state_since > policy.server_start_timeout
    if step.state is StepState.UNDOING:
        return GiveUp(f"{step.error}; put back, it is not well either: {sight.complaint}") if late else _hold(sight)
    if sight.refused or sight.server.status is Status.ERROR or late:
        return TurnBack(sight.complaint)
    return _hold(sight)


def _hold(sight: Sight) -> Hold:
    return Hold(sight.complaint)


def _really_well(step: Step, sight: Sight) -> bool:
    """A login since the change found it well, it is as it should be, and it is not the one from before that still runs."""
    server = sight.server
    looked = server.last_health_check is not None and server.last_health_check >= step.state_since
    well = server.status is Status.ACTIVE and server.health is Health.HEALTHY and looked
    renewed = step.seen_before is None or server.facts.get("started_at") != step.seen_before
    return well and renewed and not (sight.differs or sight.refused or sight.trouble)


def major_of(postgres_version: str) -> int:
    """18 of `18.6`."""
    return int(postgres_version.split(".", maxsplit=1)[0])
