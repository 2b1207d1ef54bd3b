"""What the service answers with. Frozen; a field that a newer service added is ignored.

States, kinds and plans are texts, not enumerations: a newer service may know more of them. Sizes are bytes, times with a
unit in their name are in it, moments know their time zone.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

Texts = dict[str, str]
Keywords = dict[str, Any]


OVER = frozenset({"succeeded", "failed", "cancelled"})
"""States in which an operation stays."""
ENDED = frozenset({"releasing", "released", "purged"})
"""Statuses from which a database does not become ready by itself."""


class Mismatch(ValueError):
    """What came is not of that shape. The message names fields and never values."""


def parse(shape: type[T], content: bytes) -> T:
    """JSON as that model, or Mismatch."""
    try:
        reader: TypeAdapter[T] = _reader(shape)  # type: ignore[arg-type]
        return reader.validate_json(content)
    except ValidationError as wrong:
        places = [".".join(str(part) for part in e["loc"]) or "body" for e in wrong.errors(include_input=False)[:5]]
        raise Mismatch(f"see {', '.join(places)}") from None


@cache
def _reader(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


# -- databases --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a database is."""

    db_server_id: UUID
    db_host: str
    db_port: int

    @property
    def address(self) -> "Address":
        """Itself, as credentials have one."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """All that is needed to log in, in the forms that clients of PostgreSQL read. Its repr hides the password."""

    instance_id: str
    db_server_id: UUID
    db_host: str
    db_port: int
    db_name: str
    db_user: str
    db_password: str = field(repr=False)
    ssl_mode: str
    """libpq's `sslmode` for this server: `verify-full`, or `prefer` where it speaks no TLS."""
    ssl_root_cert: str | None
    """Who vouches for the server, as PEM; None where it speaks no TLS."""

    @property
    def address(self) -> Address:
        return Address(db_server_id=self.db_server_id, db_host=self.db_host, db_port=self.db_port)

    def dsn(self, root_cert: str | None = None) -> str:
        """libpq's URI, with the password: `postgresql://user:password@host:port/name`.

        Where the server speaks TLS it says `sslmode=verify-full`; `root_cert` is the file that `ssl_root_cert` was written to.
        """
        user, password, name = (quote(part, safe="") for part in (self.db_user, self.db_password, self.db_name))
        known = {"sslrootcert": root_cert} if self.ssl_root_cert and root_cert else {}
        query = urlencode(self._verified() | known)
        where = f"postgresql://{user}:{password}@{_in_url(self.db_host)}:{self.db_port}/{name}"
        return f"{where}?{query}" if query else where

    def ssl_context(self) -> ssl.SSLContext | None:
        """For drivers that take one, as asyncpg's `ssl`: it verifies as `verify-full` does. None where the server speaks no TLS."""
        return ssl.create_default_context(cadata=self.ssl_root_cert) if self.ssl_root_cert else None

    def env(self) -> Texts:
        """libpq's variables and DATABASE_URL, for the environment of a process."""
        return {
            "PGHOST": self.db_host,
            "PGPORT": str(self.db_port),
            "PGDATABASE": self.db_name,
            "PGUSER": self.db_user,
            "PGPASSWORD": self.db_password,
            **{f"PG{name.upper()}": mode for name, mode in self._verified().items()},
            "DATABASE_URL": self.dsn(),
        }

    def dict(self) -> Keywords:
        """`host port database user password`, the keywords of asyncpg and pg8000 (psycopg reads `dsn()`)."""
        return {
            "host": self.db_host,
            "port": self.db_port,
            "database": self.db_name,
            "user": self.db_user,
            "password": self.db_password,
        }

    def jdbc(self) -> str:
        told = {"user": self.db_user, "password": self.db_password}
        login = urlencode(told | self._verified())
        return f"jdbc:postgresql://{_in_url(self.db_host)}:{self.db_port}/{quote(self.db_name, safe='')}?{login}"

    def pgpass(self) -> str:
        """A line of ~/.pgpass: `:` and `\\` are escaped (PostgreSQL manual, 32.16)."""
        parts = (self.db_host, str(self.db_port), self.db_name, self.db_user, self.db_password)
        return ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in parts)

    def _verified(self) -> Texts:
        """Where the server speaks TLS."""
        return {"sslmode": self.ssl_mode} if self.ssl_root_cert else {}


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation(Credentials):
    """A database that works now."""

    status: str
    customer_id: str
    plan_tier: str
    server_type: str
    server_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Accepted and stored; it will be done."""

    status: str
    instance_id: str
    database_status: str
    db_server_id: UUID | None
    retry_after: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DedicatedServer:
    """There (`provisioned`), or on its way (`provisioning`)."""

    status: str
    instance_id: str
    db_server_id: UUID
    db_host: str | None
    db_port: int | None
    retry_after: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    db_user: str
    state: str
    created_at: datetime
    expires_at: datetime | None
    """When it stops working; None for as long as the database lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation(Allocation):
    """The new login, which works now, and all that work beside it until they expire."""

    logins: tuple[Login, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the plan lets a database use. Times are seconds."""

    connections: int
    statement_timeout: float
    idle_in_transaction_timeout: float
    transaction_timeout: float
    temp_file_bytes: int
    storage_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The last sample of a database. What is told for each second is since the sample before, and None until there are two."""

    state: str
    """How full its plan's storage is: `ok warning critical stopped`. Writes are stopped from 100 % until below 90 %."""
    state_since: datetime | None
    """None where it always was `ok`."""
    door_shut: bool
    """It went on growing when its writes were stopped, and nobody gets in."""
    size_bytes: int | None
    """On disk; None until it was first measured."""
    storage_bytes: int
    """What its plan gives."""
    size_percent: float | None
    sized_at: datetime | None
    connections: int
    oldest_transaction_s: float | None
    """None where none is open."""
    transactions_per_s: float | None
    blocks_per_s: float | None
    """Blocks of 8 KiB that were asked for, in memory or not."""
    temp_bytes_per_s: float | None
    busy: float | None
    """Seconds that its sessions were at work in each second."""
    sampled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where it is, what it may use, until when. No secrets."""

    id: UUID
    instance_id: str
    customer_id: str
    status: str
    status_since: datetime
    plan_tier: str
    server_type: str
    template: str
    protected: bool
    db_server_id: UUID | None
    db_host: str | None
    db_port: int | None
    db_name: str | None
    server_name: str | None
    server_status: str | None
    server_health: str | None
    postgres_version: str | None
    ssl_root_cert: str | None
    """Who vouches for its server, as PEM; None where it has none yet, or one without TLS."""
    limits: Limits
    usage: Usage | None
    """What it uses of that; None until it was first sampled."""
    logins: tuple[Login, ...]
    attempts: int
    """Failed attempts since it last went well."""
    last_error: str | None
    created_at: datetime
    ready_at: datetime | None
    released_at: datetime | None
    purge_after: datetime | None
    """When released data is deleted."""

    @property
    def ready(self) -> bool:
        return self.status == "ready"

    @property
    def address(self) -> Address | None:
        """None as long as it has no place."""
        if self.db_server_id is None or self.db_host is None or self.db_port is None:
            return None
        return Address(db_server_id=self.db_server_id, db_host=self.db_host, db_port=self.db_port)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseChange:
    """What a change left behind."""

    id: UUID
    instance_id: str
    status: str
    protected: bool
    purge_after: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A database is on another server now: its name, users and passwords are the same, its address is not."""

    old: Address
    new: Credentials


# -- operations -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a database is on its way to another server."""

    phase: str
    """`seating fencing copying verifying opening tidying`, at last `done`; or `reopening tidying undone`."""
    fraction: float | None
    """How much of the phase is done, 0 to 1; None where nobody can tell."""
    attempt: int
    plan_tier: str
    """The plan it has once it is there."""
    from_server: str
    to_server: str | None
    """None until it has a place."""
    size_bytes: int | None
    downtime_s: float | None
    """How long nobody could use it; None until that is over."""
    switched_at: datetime | None
    """From here on the other server counts."""
    kept_until: datetime | None
    """Until when what it left behind is kept, shut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationStep:
    ordinal: int
    name: str
    """The server's, or the instance whose database it is."""
    subject_id: UUID
    state: str
    error: str | None
    started_at: datetime | None
    finished_at: datetime | None
    progress: Progress | None
    """Where a database goes to another server: how far it is."""


@dataclass(frozen=True, kw_only=True)  # no slots: frozen and slotted classes cannot be built upon in 3.11
class OperationRecord:
    """Long work, step by step, as it was when it was read."""

    id: UUID
    kind: str
    state: str
    state_since: datetime
    target: Mapping[str, object]
    wish: str | None
    """`pause` or `cancel`, which takes effect after the step in hand."""
    error: str | None
    """Why it failed, or what it waits for now."""
    steps: tuple[OperationStep, ...]
    created_by: str
    created_at: datetime
    finished_at: datetime | None

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def step(self) -> OperationStep | None:
        """The one in hand, else the last that began; None before the first."""
        begun = [step for step in self.steps if step.started_at is not None]
        in_hand = [step for step in begun if step.finished_at is None]
        return next(iter(in_hand), begun[-1] if begun else None)

    @property
    def phase(self) -> str | None:
        """What is being done to the database that is on its way; None where none is."""
        return self.step.progress.phase if self.step and self.step.progress else None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationPage:
    operations: tuple[OperationRecord, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRef:
    """A server, as a report names it."""

    id: UUID
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveReport:
    """What a change would do. Nothing was changed."""

    instance_id: str
    moves: bool
    """False where only limits change, at once."""
    plan_tier: str
    server_type: str
    from_server: ServerRef | None
    to_server: ServerRef | None
    """As things stand; None where a server has to be made first."""
    size_bytes: int | None
    tables: int | None
    large_objects: int | None
    extensions: tuple[str, ...]
    estimated_downtime_s: float
    """How long nobody could use it."""
    blockers: tuple[str, ...]
    """Why it cannot be moved, and what to do about each."""
    losses: tuple[str, ...]
    """What would not come along. All of it harmless."""


# -- pools ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A server. `full` is an active one without a free slot, `maintenance` one that is cordoned."""

    id: UUID
    name: str
    server_type: str
    provisioner: str
    status: str
    status_since: datetime
    health_status: str
    health_message: str | None
    last_health_check: datetime | None
    cordoned: bool
    cordon_reason: str | None
    manual: bool
    priority: int
    current_instances: int
    """Slots that hold a database or a spare."""
    spare_instances: int
    """Those of them that nobody owns yet."""
    max_instances: int
    capacity_percentage: float
    instance_id: str | None
    """Whom a dedicated server is for."""
    customer_id: str | None
    plan_tier: str | None
    host: str | None
    port: int | None
    postgres_version: str | None
    image: str | None
    """What it runs; None where its provisioner runs no images."""
    cpu_limit: float
    memory_limit: int
    facts: Mapping[str, object]
    """Numbers that the last health check read."""
    tls_until: datetime | None
    """When its certificate ends, which is renewed a month before; None where it speaks no TLS."""
    attempts: int
    """Failed attempts since it last went well."""
    last_error: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPage:
    pools: tuple[Pool, ...]
    total_count: int
    """All that match, not only this page."""
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    pool_id: UUID
    status: str
    health_status: str
    message: str | None
    checked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionReport:
    """What was found, and what adoption would change. Nothing was changed."""

    postgres_version: str
    max_connections: int
    superuser: bool
    databases: Mapping[str, int]
    """Names and bytes."""
    roles: tuple[str, ...]
    changes: tuple[str, ...]
    confirmation: str
    """Agrees to just what is described here."""


# -- neighbours -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Percent: of the server's sessions and CPUs, and of what all its databases together read, spill and have on disk."""

    connections: float
    time: float
    blocks: float
    temp: float
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One database on a pool, and how much of it that takes. Rates are for each second between the last two samples."""

    instance_id: str
    customer_id: str
    plan_tier: str
    pool_id: UUID
    pool_name: str
    state: str
    """As in `usage` of the database."""
    loudest: str
    """The share by which it is ranked."""
    shares: Shares
    connections: int
    oldest_transaction_s: float | None
    blocks_per_s: float
    temp_bytes_per_s: float
    busy: float
    size_bytes: int
    advice: tuple[str, ...]
    """What to do, the most urgent first; empty where nothing is amiss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourList:
    neighbours: tuple[Neighbour, ...]


# -- history ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolThen:
    """What a server had in the hour or the day that began at `at`: connections at most, the others at last."""

    at: datetime
    used_slots: int
    databases: int
    connections: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolHistory:
    """The oldest first. An hour or a day in which nobody could look at the server is not there."""

    history: tuple[PoolThen, ...]
    full_on: date | None
    """When its slots will all be taken at the pace of the last four weeks; None where nothing says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeThen:
    at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseHistory:
    """At the first look of each day, the oldest first, and now."""

    history: tuple[SizeThen, ...]
    full_on: date | None
    """When its plan's storage will be used up at the pace of the last four weeks; None where nothing says so."""


# -- drift ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One thing that is not as the rows say."""

    id: UUID
    kind: str
    state: str
    provisioner: str
    server_id: UUID
    """The server it is, or is on; it may have no row."""
    server_name: str
    thing: str | None
    """What of the server: a database, a role, a directory; None: itself."""
    told: tuple[str, ...]
    """Exactly what there is."""
    remark: str | None
    removable: bool
    kept_because: str | None
    removable_from: datetime | None
    first_seen: datetime
    last_seen: datetime
    gone_at: datetime | None
    confirmed_at: datetime | None
    confirmed_by: str | None
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlooked:
    """A place that could not be looked at."""

    where: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPage:
    drift: tuple[Drift, ...]
    total_count: int
    next_cursor: str | None
    looked_at: datetime | None
    """When the last look began; None before the first."""
    not_looked_at: tuple[Unlooked, ...]
    look_wanted: bool
    """Somebody asked for a look that did not end yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    wanted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalOffer:
    """What exactly would be removed. Nothing was."""

    drift: Drift
    confirmation: str
    """Has just this removed."""
    expires_at: datetime


# -- the fleet --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The fleet in numbers. Capacity and use are slots; utilization is percent."""

    total_pools: int
    active_pools: int
    total_capacity: int
    total_used: int
    total_free: int
    total_spare: int
    total_waiting: int
    overall_utilization: float
    by_status: Mapping[str, int]
    by_type: Mapping[str, int]
    by_health: Mapping[str, int]
    databases: Mapping[str, int]
    """By status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change: who did what to which, when, why, from what to what, in which request."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    subject_id: UUID
    instance_id: str | None
    before: str | None
    after: str | None
    why: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    events: tuple[Event, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with the audit trail first; `event_id` is None where nobody can say any more which event it was."""

    flaw: str
    event_id: int | None
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How far the audit trail is as it was written. `head` is the last link that is well: kept elsewhere and given as
    `since`, it finds out a trail that was cut off or made anew. Where it is not `complete`, go on since that head."""

    ok: bool
    complete: bool
    verified: int
    unlinked: int | None
    """The newest events, which are not linked yet; None where the end was not reached."""
    head: str | None
    fault: Fault | None
    checked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRequest:
    """One request that the service answered. Bodies are what it keeps of them; None: nothing may be kept, or it was too long."""

    at: datetime
    request_id: str
    token_id: UUID | None
    """None where no valid token was shown."""
    token_name: str | None
    method: str
    endpoint: str
    """The path as the contract has it, without ids."""
    instance_id: str | None
    customer_id: str | None
    status: int
    ms: float
    code: str | None
    """Of the problem it was answered with."""
    request_body: Mapping[str, Any] | None
    response_body: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPage:
    requests: tuple[LoggedRequest, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the ring, or one that is missing from it, and how much needs it."""

    id: str
    on_ring: bool
    seals: bool
    secrets: int
    links: int
    tokens: int
    removable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """The newest key first. `plain_tokens` of an older release are stored under no key until they are used."""

    keys: tuple[Key, ...]
    plain_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Who vouches for servers. Its key is never told."""

    id: UUID
    generation: int
    certificate: str
    """PEM."""
    issues_from: datetime
    """Until then it is only shown, so that clients can learn to trust it."""
    issues: bool
    """Certificates of servers are made by it now."""
    servers: int
    """Those whose newest certificate is of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityList:
    authorities: tuple[Authority, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An API token, without its text."""

    id: UUID
    name: str
    scopes: tuple[str, ...]
    customer_id: str | None
    """Whose databases alone it is for; None: everybody's."""
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To the minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken(Token):
    """The only time that the text is shown. Its repr hides it."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenList:
    tokens: tuple[Token, ...]


# -- health and problems ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    status: str
    checked: tuple[str, ...]
    """All that this answer stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    ok: bool
    ms: float
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """`ready`; `degraded`: requests are served, but work behind them waits; `unavailable`: they are not."""

    status: str
    control_database: Check
    broker: Check | None
    """None where none is configured."""
    overdue_seconds: float | None
    """How long the oldest due work has waited for a worker; None if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing that is wrong with one field."""

    field: str
    message: str
    place: str = "body"
    """`body`, `path`, `query` or `header`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error on the wire (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: tuple[FieldError, ...] | None = None
