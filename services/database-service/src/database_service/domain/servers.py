"""Servers: what they are, what was seen of them, and what to do next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from database_service.domain.ids import CustomerId, InstanceId, ServerId
from database_service.domain.plans import ServerType, Tier
from database_service.domain.policy import Policy
from database_service.domain.secret import Secret
from database_service.domain.tls import Identity


class Status(StrEnum):
    PROVISIONING = "provisioning"
    INITIALIZING = "initializing"
    ACTIVE = "active"
    DEPROVISIONING = "deprovisioning"
    GONE = "gone"
    ERROR = "error"


class Health(StrEnum):
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.PROVISIONING: frozenset({Status.INITIALIZING, Status.ERROR, Status.DEPROVISIONING}),
    Status.INITIALIZING: frozenset({Status.ACTIVE, Status.ERROR, Status.DEPROVISIONING}),
    Status.ACTIVE: frozenset({Status.ERROR, Status.DEPROVISIONING}),
    Status.ERROR: frozenset({Status.INITIALIZING, Status.DEPROVISIONING}),
    Status.DEPROVISIONING: frozenset({Status.GONE}),
    Status.GONE: frozenset(),
}
"""Every move between states there is; the table's CHECK, the events and the tests follow it."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Server:
    """One PostgreSQL server as our row tells it. Times are aware UTC; memory is bytes."""

    id: ServerId
    seq: int
    name: str
    server_type: ServerType
    provisioner: str
    status: Status
    status_since: datetime
    health: Health
    health_failures: int
    health_message: str | None
    last_health_check: datetime | None
    cordoned: bool
    cordon_reason: str | None
    manual: bool
    priority: int
    max_instances: int
    instance_id: InstanceId | None
    customer_id: CustomerId | None
    plan_tier: Tier | None
    host: str | None
    port: int | None
    admin_user: str
    admin_password_sealed: bytes
    admin_password_version: int
    admin_password_next: bytes | None
    image: str | None
    postgres_version: str | None
    cpu_limit: float
    memory_limit: int
    facts: Mapping[str, object]
    keep_data_until: datetime | None
    due_at: datetime | None
    version: int
    attempts: int
    last_error: str | None
    created_at: datetime
    updated_at: datetime
    tls: Identity | None = None
    """None: it speaks no TLS."""

    @property
    def address(self) -> Address | None:
        return Address(self.host, self.port) if self.host and self.port else None


class Presence(StrEnum):
    """What a provisioner found. UNKNOWN (it could not look) is never taken for ABSENT.

    STARTING: it was told to run and does not yet; whoever keeps it running tries by himself, also after failures.
    """

    ABSENT = "absent"
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Probe:
    """The outcome of a real login that ran SQL and a small write. `facts` are cheap numbers read in the same round trip."""

    ok: bool
    why: str = ""
    postgres_version: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    untrusted: bool = False
    """It answered, and what it showed for itself was refused: its certificate has ended, or is not for this address."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A server as it was found: by its provisioner, and, where it runs, by a login. `why` explains what is not well."""

    presence: Presence
    address: Address | None = None
    probe: Probe | None = None
    why: str = ""
    image: str | None = None
    """What it runs, where its provisioner runs images: pinned, also where its row has only a tag."""
    tenants_left: int = 0
    """Databases of ours still to be dropped from a server that is only forgotten, not removed."""

    @property
    def well(self) -> bool:
        return self.presence is Presence.RUNNING and self.probe is not None and self.probe.ok

    @property
    def complaint(self) -> str:
        return (
            self.why or (self.probe.why if self.probe and not self.probe.ok else "") or f"the server is {self.presence}"
        )


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """All a provisioner needs to make a server; equal specs make the same server, however often."""

    id: ServerId
    name: str
    server_type: ServerType
    admin_user: str
    admin_password: Secret
    settings: Mapping[str, str]
    """postgresql.conf parameters, from `sizing`."""
    cpu_limit: float
    memory_limit: int
    image: str | None = None
    """What it runs, for provisioners that run images; None takes the provisioner's own programs."""
    password_version: int = 1
    """Counts the administrator's passwords: a provisioner that stores one names it by this."""
    made_before: bool = False
    """It was in use before: data that is not there is lost or not mounted, never "not yet made"."""
    identity: Secret | None = None
    """Its key and its certificate as PEM; None: it speaks no TLS."""
    key_id: str = ""
    """Names the key: a provisioner that stores an identity names it by this."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something a provisioner runs or keeps that carries our label."""

    id: ServerId
    name: str
    presence: Presence
    address: Address | None = None
    traces: tuple[str, ...] = ()
    """What there is of it, in words: `service pool-x`, `directory /srv/…`. All of it goes when it is removed."""
    labelled: bool = True
    """Whether it says itself that it is ours. What only looks like it is told of, and never removed."""
    remembered: str | None = None
    """What was last remembered of it."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is there. `reference` is pinned by digest where it has one; `major` is PostgreSQL's, e.g. 18."""

    reference: str
    major: int


# -- moves ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ensure:
    """Have the provisioner make or start it."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Open:
    """It answers: harden it, then it is active."""


@dataclass(frozen=True, slots=True)
class Certify:
    """Give it a new certificate, while it runs; `host` is where it was seen."""

    host: str


@dataclass(frozen=True, slots=True)
class Become:
    """Only the row changes."""

    status: Status
    why: str = ""


@dataclass(frozen=True, slots=True)
class Remove:
    """Have the provisioner stop and remove it; its data stays where `keep_data`."""

    keep_data: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now. `until` where the time is known, `soon` where it may change any moment, else the row's backoff; `failed`
    counts as an attempt."""

    why: str
    until: datetime | None = None
    failed: bool = False
    soon: bool = False


@dataclass(frozen=True, slots=True)
class Rest:
    """As it should be; the next health check is the next look."""


LOOKS_AT_A_START = 15
"""So many looks in a row (about 20 s) a server that was told to run is left alone; then it is made anew what it should be, as
what it was told may be what keeps it from running."""

Move = Ensure | Open | Certify | Become | Remove | Wait | Rest


def decide(server: Server, seen: Seen, now: datetime, policy: Policy) -> Move:
    """The one next move for this server. Pure, total: every state with every observation has an answer."""
    if seen.presence is Presence.UNKNOWN and not _forgotten(server, now, policy):
        return Wait(seen.complaint)
    if certify := _certify(server, seen, now):
        return certify
    match server.status:
        case Status.PROVISIONING | Status.INITIALIZING:
            return _bring_up(server, seen, now, policy)
        case Status.ACTIVE:
            return _keep_up(server, seen, policy)
        case Status.ERROR:
            return _recover(seen, now, policy)
        case Status.DEPROVISIONING:
            return _take_down(server, seen, now, policy)
        case Status.GONE:
            return Rest()


def _certify(server: Server, seen: Seen, now: datetime) -> Certify | None:
    """Where its certificate has to be renewed, or what it shows was refused. One that does not answer could not take it."""
    if server.tls is None or seen.probe is None or seen.address is None:
        return None
    due = seen.probe.untrusted or (seen.probe.ok and server.tls.due(seen.address.host, now))
    return Certify(seen.address.host) if due else None


def _forgotten(server: Server, now: datetime, policy: Policy) -> bool:
    """A server somebody else runs, that is to be let go and has not been seen for long, is not waited for any longer."""
    leaving = server.status is Status.DEPROVISIONING and server.provisioner == "external"
    return leaving and now - server.status_since >= policy.failed_pool_grace


def _bring_up(server: Server, seen: Seen, now: datetime, policy: Policy) -> Move:
    if seen.presence not in (Presence.RUNNING, Presence.STARTING):
        if server.attempts >= policy.server_attempts:
            return Become(Status.ERROR, server.last_error or seen.complaint)
        return Ensure()
    if server.status is Status.PROVISIONING:
        return Become(Status.INITIALIZING)  # its start counts from here: who ordered it may have been away for long
    if seen.well:
        return Open()
    return _await_start(server, seen, now, policy)


def _await_start(server: Server, seen: Seen, now: datetime, policy: Policy) -> Move:
    if now - server.status_since > policy.server_start_timeout:
        return Become(Status.ERROR, seen.complaint)
    return Wait(seen.complaint)


def _keep_up(server: Server, seen: Seen, policy: Policy) -> Move:
    if seen.presence is Presence.RUNNING:
        return Rest() if seen.well else Wait(seen.complaint)
    if seen.presence is Presence.STARTING and (server.health_failures + 1) % LOOKS_AT_A_START:
        return Wait(seen.complaint, soon=True)
    if server.attempts >= policy.server_attempts:
        return Become(Status.ERROR, server.last_error or seen.complaint)
    return Ensure(seen.complaint)


def _recover(seen: Seen, now: datetime, policy: Policy) -> Move:
    if seen.well:
        return Become(Status.INITIALIZING, "it answers again")
    if seen.presence is Presence.RUNNING:
        return Wait(seen.complaint, until=now + policy.error_recheck)
    return Ensure(seen.complaint)


def _take_down(server: Server, seen: Seen, now: datetime, policy: Policy) -> Move:
    kept = server.keep_data_until is not None and now < server.keep_data_until
    if seen.tenants_left and now - server.status_since < policy.failed_pool_grace:
        return Wait(f"{seen.tenants_left} of our databases are still to be dropped from it")
    if seen.presence is Presence.ABSENT:
        return Become(Status.GONE)
    if kept and seen.presence is Presence.STOPPED:
        return Wait(f"its data is kept until {server.keep_data_until:%Y-%m-%d %H:%M} UTC", until=server.keep_data_until)
    return Remove(keep_data=kept)


# -- health -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    health: Health
    failures: int
    message: str | None


def assess(server: Server, seen: Seen, policy: Policy) -> Verdict:
    """Health from this look and the ones before: a process that is gone counts at once, a failed login, or not being able to
    look, after three in a row."""
    if seen.well:
        return Verdict(Health.HEALTHY, 0, None)
    failures = server.health_failures + 1
    gone = seen.presence in (Presence.ABSENT, Presence.STOPPED, Presence.STARTING)
    ill = gone or failures >= policy.health_failures or server.health is Health.UNHEALTHY
    return Verdict(Health.UNHEALTHY if ill else Health.DEGRADED, failures, seen.complaint)


def next_look(server: Server, verdict: Verdict, policy: Policy) -> timedelta:
    """A well server rests for the health interval; an ill one is looked at again sooner, slower each time."""
    if verdict.health is Health.HEALTHY:
        return policy.health_interval
    return min(policy.backoff_first * (1 << min(verdict.failures, 16)), policy.health_interval, policy.error_recheck)
