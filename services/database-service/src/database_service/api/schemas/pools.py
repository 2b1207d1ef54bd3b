"""Servers on the wire, which the contract calls pools."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, SecretStr, StringConstraints

from database_service.api.paging import cursor_of
from database_service.api.schemas.common import SECRET, Hidden, In, Line, Out, Text
from database_service.domain.answers import Adoption, AdoptTarget
from database_service.domain.plans import GIB, MIB
from database_service.domain.secret import Secret
from database_service.domain.servers import Server
from database_service.views.servers import ServerPage, ServerView, Shown

Host = Annotated[Text, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,253}$")]
ServerName = Annotated[Text, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Confirmation = Annotated[Hidden, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Slots = Annotated[int, Field(ge=1, le=10_000)]
Cpus = Annotated[float, Field(ge=0.01, le=1024, allow_inf_nan=False)]
Memory = Annotated[int, Field(ge=64 * MIB, le=16 * 1024 * GIB)]


class OrderIn(In):
    """A pool to order. What is left out is as the service is set."""

    max_instances: Slots | None = None
    cpu_limit: Cpus | None = None
    memory_limit: Memory | None = Field(None, description="Bytes.")
    priority: int = Field(0, ge=-1000, le=1000, description="Higher ones are filled first.")
    manual: bool = Field(False, description="Takes no databases by itself.")


class CordonIn(In):
    reason: Line | None = None


class AdoptIn(In):
    """A server that somebody else runs. Without `confirm` it is only looked at."""

    host: Host
    port: int = Field(5432, ge=1, le=65535)
    user: Line
    password: Annotated[SecretStr, Field(min_length=1, max_length=1000), SECRET]
    name: ServerName | None = None
    max_instances: Slots
    confirm: Confirmation | None = Field(None, description="The `confirmation` of the report that is agreed to.")

    def target(self) -> AdoptTarget:
        return AdoptTarget(
            host=self.host,
            port=self.port,
            user=self.user,
            password=Secret(self.password.get_secret_value()),
            name=self.name,
            max_instances=self.max_instances,
        )


class PoolOut(Out):
    """A server. `full` is an active one without a free slot, `maintenance` one that is cordoned."""

    id: UUID
    name: Text
    server_type: Text
    provisioner: Text
    status: Shown
    status_since: datetime
    health_status: Text
    health_message: Text | None
    last_health_check: datetime | None
    cordoned: bool
    cordon_reason: Text | None
    manual: bool
    priority: int
    current_instances: int = Field(description="Slots that hold a database or a spare.")
    spare_instances: int = Field(description="Those of them that nobody owns yet.")
    max_instances: int
    capacity_percentage: float
    instance_id: Text | None = Field(description="Whom a dedicated server is for.")
    customer_id: Text | None
    plan_tier: Text | None
    host: Text | None
    port: int | None
    postgres_version: Text | None
    image: Text | None = Field(description="What it runs; null where its provisioner runs no images.")
    cpu_limit: float
    memory_limit: int = Field(description="Bytes.")
    facts: Mapping[str, object] = Field(
        description="What the last health check read: numbers, and the `settings` in force."
    )
    tls_until: datetime | None = Field(
        description="When its certificate ends, which is renewed a month before; null where it speaks no TLS."
    )
    attempts: int = Field(description="Failed attempts since it last went well.")
    last_error: Text | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, server: ServerView) -> "PoolOut":
        return cls(
            id=server.id,
            name=server.name,
            server_type=server.server_type,
            provisioner=server.provisioner,
            status=server.shown,
            status_since=server.status_since,
            health_status=server.health_status,
            health_message=server.health_message,
            last_health_check=server.last_health_check,
            cordoned=server.cordoned,
            cordon_reason=server.cordon_reason,
            manual=server.manual,
            priority=server.priority,
            current_instances=server.used,
            spare_instances=server.spares,
            max_instances=server.max_instances,
            capacity_percentage=round(100 * server.used / server.max_instances, 1),
            instance_id=server.instance_id,
            customer_id=server.customer_id,
            plan_tier=server.plan_tier,
            host=server.host,
            port=server.port,
            postgres_version=server.postgres_version,
            image=server.image,
            cpu_limit=server.cpu_limit,
            memory_limit=server.memory_limit,
            facts=server.facts,
            tls_until=server.tls_until,
            attempts=server.attempts,
            last_error=server.last_error,
            created_at=server.created_at,
            updated_at=server.updated_at,
        )


class PoolsOut(Out):
    pools: list[PoolOut]
    total_count: int = Field(description="All that match, not only this page.")
    next_cursor: Text | None

    @classmethod
    def of(cls, page: ServerPage) -> "PoolsOut":
        return cls(
            pools=[PoolOut.of(server) for server in page.servers],
            total_count=page.total,
            next_cursor=cursor_of(page.next_after),
        )


class HealthCheckOut(Out):
    pool_id: UUID
    status: Text
    health_status: Text
    message: Text | None
    checked_at: datetime | None

    @classmethod
    def of(cls, server: Server) -> "HealthCheckOut":
        return cls(
            pool_id=server.id,
            status=server.status,
            health_status=server.health,
            message=server.health_message,
            checked_at=server.last_health_check,
        )


class AdoptionOut(Out):
    """What was found, and what adoption would change. Nothing was changed."""

    postgres_version: Text
    max_connections: int
    superuser: bool
    databases: Mapping[str, int] = Field(description="Names and bytes.")
    roles: list[Text]
    changes: list[Text]
    confirmation: Hidden = Field(description="Send it back as `confirm` to adopt just what is described here.")

    @classmethod
    def of(cls, adoption: Adoption) -> "AdoptionOut":
        found = adoption.inventory
        return cls(
            postgres_version=found.postgres_version,
            max_connections=found.max_connections,
            superuser=found.superuser,
            databases=found.databases,
            roles=list(found.roles),
            changes=list(found.changes),
            confirmation=adoption.confirmation,
        )
