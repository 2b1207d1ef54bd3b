"""Tenant databases on the wire."""

from collections.abc import Sequence
from datetime import datetime
from math import ceil
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from database_service.api.schemas.common import CallerId, In, Out
from database_service.domain.answers import Allocation, Pending
from database_service.domain.databases import DEFAULT_TEMPLATE, Ask, Database
from database_service.domain.ids import CustomerId, InstanceId
from database_service.domain.plans import Limits, Tier, seat_for
from database_service.domain.servers import Server, Status
from database_service.views.databases import DatabaseStatus, LoginView

DatabaseName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,62}$")]
TemplateName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


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


class CredentialsOut(Out):
    instance_id: str
    db_server_id: UUID
    db_host: str
    db_port: int
    db_name: str
    db_user: str
    db_password: str

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
        )


class AllocationOut(CredentialsOut):
    """A database that works now."""

    status: Literal["allocated"] = "allocated"
    customer_id: str
    plan_tier: Tier
    server_type: str
    server_name: str

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
    instance_id: str
    database_status: str
    db_server_id: UUID | None
    retry_after: int
    message: str

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
    instance_id: str
    db_server_id: UUID
    db_host: str | None
    db_port: int | None
    retry_after: int | None = None
    message: str | None = None

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
    db_user: str
    state: str
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
    temp_file_bytes: int

    @classmethod
    def of(cls, limits: Limits) -> "LimitsOut":
        return cls(
            connections=limits.connections,
            statement_timeout=limits.statement_timeout.total_seconds(),
            idle_in_transaction_timeout=limits.idle_in_transaction_timeout.total_seconds(),
            temp_file_bytes=limits.temp_file_bytes,
        )


class DatabaseOut(Out):
    """A tenant database: where it is, what it may use, until when. No secrets."""

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
    limits: LimitsOut
    logins: list[LoginOut]
    attempts: int = Field(description="Failed attempts since it last went well.")
    last_error: str | None
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
            limits=LimitsOut.of(seen.limits),
            logins=[LoginOut.of(login) for login in found.logins],
            attempts=seen.attempts,
            last_error=seen.last_error,
            created_at=seen.created_at,
            ready_at=seen.ready_at,
            released_at=seen.released_at,
            purge_after=seen.purge_after,
        )


class DatabaseChangeOut(Out):
    """What a change left behind."""

    id: UUID
    instance_id: str
    status: str
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
