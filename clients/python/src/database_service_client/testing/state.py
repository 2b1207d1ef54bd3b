"""What the stand-in remembers of one server, one database, one operation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid4

from database_service_client.testing.rules import PLANS, Plan

FENCED = 0.25
"""From this part of a move on nobody can use the database."""

Ask = Mapping[str, object]
"""The body of an allocation, defaults filled in."""


@dataclass(frozen=True, slots=True)
class Server:
    server_type: str
    name: str
    host: str
    port: int = 5432
    id: UUID = field(default_factory=uuid4)


@dataclass(slots=True)
class Login:
    db_user: str
    password: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    key: str | None = None
    """The Idempotency-Key that asked for it."""


@dataclass(slots=True)
class Tenant:
    """The database of one instance."""

    instance_id: str
    ask: Ask
    name: str
    created_at: datetime
    status: str
    status_since: datetime
    id: UUID = field(default_factory=uuid4)
    server: Server | None = None
    due: float = math.inf
    """When it becomes ready, by the clock."""
    ready_at: datetime | None = None
    protected: bool = False
    released_at: datetime | None = None
    purge_after: datetime | None = None
    logins: list[Login] = field(default_factory=list)
    written: bool = False
    """Since it was last moved."""

    @property
    def plan_tier(self) -> str:
        return str(self.ask["plan_tier"])

    @property
    def plan(self) -> Plan:
        return PLANS[self.plan_tier]

    @property
    def server_type(self) -> str:
        return "dedicated" if self.ask["require_dedicated"] else self.plan.server_type

    def become(self, status: str, at: datetime) -> None:
        if status != self.status:
            self.status, self.status_since = status, at


@dataclass(slots=True)
class Work:
    """An operation on one database. `began` and `turned_back` are by the clock."""

    kind: str
    tenant: Tenant
    ask: Ask
    """What the database was asked for, once it is done."""
    ask_before: Ask
    before: Server | None
    after: Server | None
    began: float
    takes_s: float
    created_at: datetime
    state_since: datetime
    state: str = "running"
    id: UUID = field(default_factory=uuid4)
    wish: str | None = None
    turned_back: float = math.inf
    """When it is cancelled."""
    blocked: str | None = None
    """Why it fails before anybody notices."""
    fails: str | None = None
    """Why it fails in the end."""
    error: str | None = None
    finished_at: datetime | None = None

    @property
    def moves(self) -> bool:
        return self.before is not self.after

    @property
    def fenced_at(self) -> float:
        return self.began + self.takes_s * FENCED if self.moves else math.inf

    @property
    def ends(self) -> float:
        return self.fenced_at if self.blocked else self.began + self.takes_s

    def become(self, state: str, at: datetime, error: str | None = None) -> None:
        self.state, self.state_since, self.finished_at, self.wish = state, at, at, None
        self.error = f"{self.tenant.instance_id}: {error}" if error else None
