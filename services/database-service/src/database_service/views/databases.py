"""A tenant database as its caller may see it: where it is, what it may use, until when. Never a password."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from database_service.deps import Deps
from database_service.domain.errors import DatabaseGone, DatabaseNotFound
from database_service.domain.ids import CustomerId, DatabaseId, InstanceId, ServerId
from database_service.domain.plans import Plan, plan_of
from database_service.store.rows import ROOTS
from database_service.views.usage import ONE as ONE_USAGE
from database_service.views.usage import UsageView


@dataclass(frozen=True, slots=True)
class LoginView:
    """A role that can log in; `expires_at` is when it stops working, None for as long as the database lives."""

    role: str
    state: str
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class DatabaseView:
    """One tenant database. Everything about its server is None until it has a seat."""

    id: DatabaseId
    instance_id: InstanceId
    customer_id: str
    status: str
    status_since: datetime
    plan_tier: str
    server_type: str
    template: str
    name: str
    protected: bool
    purge_after: datetime | None
    attempts: int
    last_error: str | None
    created_at: datetime
    ready_at: datetime | None
    released_at: datetime | None
    server_id: ServerId | None
    server_name: str | None
    server_status: str | None
    server_health: str | None
    host: str | None
    port: int | None
    postgres_version: str | None
    roots: str | None
    stop_wanted: str

    @property
    def plan(self) -> Plan:
        return plan_of(self.plan_tier)


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    database: DatabaseView
    logins: tuple[LoginView, ...]
    """The newest first."""
    usage: UsageView | None
    """None until it was first sampled."""


# One statement, so that all of it is of one moment, and one round trip, as thousands ask for it again and again.
STATUS = f"""
SELECT d.id, d.instance_id, d.customer_id, d.status, d.status_since, d.plan_tier, d.server_type, d.template, d.name, d.protected,
       d.purge_after, d.attempts, d.last_error, d.created_at, d.ready_at, d.released_at, d.server_id, s.name AS server_name,
       s.status AS server_status, s.health_status AS server_health, s.host, s.port, s.postgres_version,
       {ROOTS}, d.stop_wanted,
       ARRAY(SELECT (l.role, l.state, l.created_at, l.expires_at) FROM logins l
             WHERE l.database_id = d.id AND l.state <> 'dropped' ORDER BY l.created_at DESC, l.id) AS logins,
       (SELECT ({ONE_USAGE}) FROM usage u WHERE u.database_id = d.id) AS usage
FROM databases d LEFT JOIN servers s ON s.id = d.server_id
WHERE d.instance_id = $1 AND ($2::text IS NULL OR d.customer_id = $2)"""


async def status(deps: Deps, instance_id: InstanceId, customer_id: CustomerId | None = None) -> DatabaseStatus:
    """DatabaseNotFound where there never was one, or it is another customer's; DatabaseGone where its data is deleted."""
    row = await deps.db.row(STATUS, instance_id, customer_id)
    if row is None:
        raise DatabaseNotFound(instance_id)
    if row["status"] == "purged":
        raise DatabaseGone(instance_id)
    seen = dict(row)
    logins, usage = seen.pop("logins"), seen.pop("usage")
    return DatabaseStatus(
        database=DatabaseView(**seen),
        logins=tuple(LoginView(*login) for login in logins),
        usage=UsageView(*usage) if usage else None,
    )


class Order(StrEnum):
    """In which order databases of a server are told."""

    SIZE = "size"
    """The largest first."""
    NAME = "name"
    """By instance."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A database on a server, and what it used when it was last looked at; None before."""

    instance_id: InstanceId
    status: str
    plan_tier: str
    size_bytes: int | None
    connections: int | None
    level: str

    @property
    def plan(self) -> Plan:
        return plan_of(self.plan_tier)


@dataclass(frozen=True, slots=True)
class Residents:
    databases: tuple[Resident, ...]
    total: int
    """Of all of the server, not only these."""


ON_SERVER = """
SELECT d.instance_id, d.status, d.plan_tier, u.size_bytes, u.connections, coalesce(u.level, 'ok') AS level
FROM databases d LEFT JOIN usage u ON u.database_id = d.id AND u.server_id = d.server_id
WHERE d.server_id = $1 AND d.instance_id IS NOT NULL AND d.status <> 'purged'
ORDER BY CASE WHEN $2 = 'size' THEN u.size_bytes END DESC NULLS LAST, d.instance_id LIMIT $3 OFFSET $4"""

COUNT_ON_SERVER = """
SELECT count(*) FROM databases WHERE server_id = $1 AND instance_id IS NOT NULL AND status <> 'purged'"""


async def on_server(deps: Deps, server_id: ServerId, order: Order, *, limit: int, beyond: int = 0) -> Residents:
    """Those that are somebody's; spares are nobody's. An empty page where there is no such server."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(ON_SERVER, server_id, order, limit, beyond)
        total = await conn.fetchval(COUNT_ON_SERVER, server_id)
    return Residents(tuple(Resident(**dict(row)) for row in rows), total)
