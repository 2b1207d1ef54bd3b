"""Tenant databases on the wire."""

from collections.abc import Sequence
from datetime import datetime
from math import ceil
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from database_service.api.schemas.common import CallerId, Hidden, In, Out, Passing, Text
from database_service.api.schemas.usage import UsageOut
from database_service.domain.answers import Allocation, Pending
from database_service.domain.databases import DEFAULT_TEMPLATE, Ask, Database
from database_service.domain.ids import CustomerId, InstanceId
from database_service.domain.plans import Plan, Tier, seat_for
from database_service.domain.servers import Server, Status
from database_service.domain.usage import Stop
from database_service.views.databases import DatabaseStatus, LoginView

DatabaseName = Annotated[Text, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,62}$")]
TemplateName = Annotated[Text, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


class AllocateIn(In):
    instance_id: CallerId
    customer_id: CallerId
    plan_tier: Tier
    require_dedicated: bool = False
    database_name: DatabaseName | None = Field(None, description="Without it the name is ours: short and random.")
    template: TemplateName = DEFAULT_TEMPLATE

    def ask(self) -> Ask:
        """PlanHasNoDedicated where the wish exceeds the plan."""
        return Ask(
            instance_id=InstanceId(self.instance_id),
            customer_id=CustomerId(self.customer_id),
            plan_tier=self.plan_tier,
            server_type=seat_for(self.plan_tier, require_dedicated=self.require_dedicated),
            require_dedicated=self.require_dedicated,
            database_name=self.database_name,
            template=self.template,
        )


class ProvisionDedicatedIn(In):
    instance_id: CallerId
    customer_id: CallerId
    plan_tier: Tier


class RotateIn(In):
    overlap_seconds: int | None = Field(
        None,
        ge=0,
        le=30 * 86400,
        description="How long the logins before stay valid; without it as the service is set.",
    )


class ProtectIn(In):
    protected: bool


SslMode = Literal["verify-full", "prefer"]


class CredentialsOut(Out):
    instance_id: Text
    db_server_id: UUID
    db_host: Text
    db_port: int
    db_name: Text
    db_user: Text
    db_password: Hidden
    ssl_mode: SslMode = Field(description="libpq's `sslmode` for this server: `prefer` where it speaks no TLS.")
    ssl_root_cert: Passing | None = Field(
        description="Who vouches for the server, as PEM: what libpq's `sslrootcert` names a file with. Null without TLS."
    )

    @classmethod
    def of(cls, allocation: Allocation) -> "CredentialsOut":
        return cls(
            instance_id=allocation.database.instance_id or "",
            db_server_id=allocation.server_id,
            db_host=allocation.address.host,
            db_port=allocation.address.port,
            db_name=allocation.database.name,
            db_user=allocation.login.role,
            db_password=allocation.password.reveal(),
            ssl_mode="verify-full" if allocation.roots else "prefer",
            ssl_root_cert=allocation.roots,
        )


class AllocationOut(CredentialsOut):
    """A database that works now."""

    status: Literal["allocated"] = "allocated"
    customer_id: Text
    plan_tier: Tier
    server_type: Text
    server_name: Text

    @classmethod
    def of(cls, allocation: Allocation) -> "AllocationOut":
        ask = allocation.database.ask
        return cls(
            **CredentialsOut.of(allocation).__dict__,
            customer_id=ask.customer_id if ask else "",
            plan_tier=allocation.database.plan_tier,
            server_type=allocation.server_type,
            server_name=allocation.server_name,
        )


class PendingOut(Out):
    """Accepted and stored; it will be done. Ask again after `retry_after` seconds, or wait on the `Location`."""

    status: Literal["provisioning"] = "provisioning"
    instance_id: Text
    database_status: Text
    db_server_id: UUID | None
    retry_after: int
    message: Text

    @classmethod
    def of(cls, pending: Pending) -> "PendingOut":
        return cls(
            instance_id=pending.instance_id,
            database_status=pending.status,
            db_server_id=pending.server_id,
            retry_after=ceil(pending.retry_after.total_seconds()),
            message=pending.message,
        )


class DedicatedOut(Out):
    """A dedicated server: there (`provisioned`), or on its way (`provisioning`); the same request again tells."""

    status: Literal["provisioned", "provisioning"]
    instance_id: Text
    db_server_id: UUID
    db_host: Text | None
    db_port: int | None
    retry_after: int | None = None
    message: Text | None = None

    @classmethod
    def of(cls, server: Server, retry_after_s: int) -> "DedicatedOut":
        there = server.status is Status.ACTIVE
        return cls(
            status="provisioned" if there else "provisioning",
            instance_id=server.instance_id or "",
            db_server_id=server.id,
            db_host=server.host if there else None,
            db_port=server.port if there else None,
            retry_after=None if there else retry_after_s,
            message=None if there else f"The server is {server.status}.",
        )


class LoginOut(Out):
    db_user: Text
    state: Text
    created_at: datetime
    expires_at: datetime | None = Field(description="When it stops working; null for as long as the database lives.")

    @classmethod
    def of(cls, login: LoginView) -> "LoginOut":
        return cls(db_user=login.role, state=login.state, created_at=login.created_at, expires_at=login.expires_at)


class RotationOut(AllocationOut):
    """The new login, which works now, and all that work beside it until they expire."""

    logins: list[LoginOut]

    @classmethod
    def after(cls, allocation: Allocation, logins: Sequence[LoginView]) -> "RotationOut":
        return cls(**AllocationOut.of(allocation).__dict__, logins=[LoginOut.of(login) for login in logins])


class LimitsOut(Out):
    """What the plan lets this database use. Times are seconds."""

    connections: int
    statement_timeout: float
    idle_in_transaction_timeout: float
    transaction_timeout: float
    temp_file_bytes: int
    storage_bytes: int

    @classmethod
    def of(cls, plan: Plan) -> "LimitsOut":
        limits = plan.limits
        return cls(
            connections=limits.connections,
            statement_timeout=limits.statement_timeout.total_seconds(),
            idle_in_transaction_timeout=limits.idle_in_transaction_timeout.total_seconds(),
            transaction_timeout=limits.transaction_timeout.total_seconds(),
            temp_file_bytes=limits.temp_file_bytes,
            storage_bytes=plan.storage_bytes,
        )


class DatabaseOut(Out):
    """A tenant database: where it is, what it may use, until when. No secrets."""

    id: UUID
    instance_id: Text
    customer_id: Text
    status: Text
    status_since: datetime
    plan_tier: Text
    server_type: Text
    template: Text
    protected: bool
    db_server_id: UUID | None
    db_host: Text | None
    db_port: int | None
    db_name: Text | None
    server_name: Text | None
    server_status: Text | None
    server_health: Text | None
    postgres_version: Text | None
    ssl_root_cert: Passing | None = Field(
        description="Who vouches for its server, as PEM; null where it has none yet, or one without TLS."
    )
    limits: LimitsOut
    usage: UsageOut | None = Field(
        description="What it uses of that, as it was last sampled; null before the first time."
    )
    logins: list[LoginOut]
    attempts: int = Field(description="Failed attempts since it last went well.")
    last_error: Text | None
    created_at: datetime
    ready_at: datetime | None
    released_at: datetime | None
    purge_after: datetime | None = Field(description="When released data is deleted.")

    @classmethod
    def of(cls, found: DatabaseStatus) -> "DatabaseOut":
        seen = found.database
        return cls(
            id=seen.id,
            instance_id=seen.instance_id,
            customer_id=seen.customer_id,
            status=seen.status,
            status_since=seen.status_since,
            plan_tier=seen.plan_tier,
            server_type=seen.server_type,
            template=seen.template,
            protected=seen.protected,
            db_server_id=seen.server_id,
            db_host=seen.host,
            db_port=seen.port,
            db_name=seen.name,
            server_name=seen.server_name,
            server_status=seen.server_status,
            server_health=seen.server_health,
            postgres_version=seen.postgres_version,
            ssl_root_cert=seen.roots,
            limits=LimitsOut.of(seen.plan),
            usage=_usage(found),
            logins=[LoginOut.of(login) for login in found.logins],
            attempts=seen.attempts,
            last_error=seen.last_error,
            created_at=seen.created_at,
            ready_at=seen.ready_at,
            released_at=seen.released_at,
            purge_after=seen.purge_after,
        )


def _usage(found: DatabaseStatus) -> UsageOut | None:
    if found.usage is None:
        return None
    return UsageOut.of(found.usage, found.database.plan_tier, door_shut=found.database.stop_wanted == Stop.DOOR)


class DatabaseChangeOut(Out):
    """What a change left behind."""

    id: UUID
    instance_id: Text
    status: Text
    protected: bool
    purge_after: datetime | None

    @classmethod
    def of(cls, database: Database) -> "DatabaseChangeOut":
        return cls(
            id=database.id,
            instance_id=database.instance_id or "",
            status=database.status,
            protected=database.protected,
            purge_after=database.purge_after,
        )
