"""Instances on the wire."""

import re
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from instance_service.api.paging import cursor_of
from instance_service.api.schemas.common import CallerId, In, Out
from instance_service.domain.ids import CustomerId
from instance_service.domain.instances import Ask, Instance, Status, Wanted
from instance_service.domain.plans import Tier
from instance_service.views.events import EventPage, EventView
from instance_service.views.instances import Page

MOST_VARIABLES = 100
MOST_ARGUMENTS = 100
OURS = ("DATABASE_", "PG")
"""How variables begin that tell a workload of its database: only the service gives those."""

NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
Image = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$")]
Argument = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]


def _a_label(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise ValueError("1 to 63 lower-case letters, digits and hyphens, and no hyphen at either end")
    return name


Name = Annotated[str, AfterValidator(_a_label), Field(json_schema_extra={"pattern": NAME})]


def _not_ours(env: dict[str, str]) -> dict[str, str]:
    for name in env:
        if name == "PORT" or name.upper().startswith(OURS):
            raise ValueError(f"{name} is given by the service: no DATABASE_…, PG… or PORT")
    return env


class InstanceIn(In):
    name: Name = Field(description="Unique among the customer's instances that are not deleted: a DNS label.")
    customer_id: CallerId
    plan_tier: Tier
    image: Image | None = Field(
        None, description="What to run, where workloads run in a Swarm; without it the example."
    )
    command: list[Argument] = Field(
        [], max_length=MOST_ARGUMENTS, description="Program and arguments; without it the image's own, or the example."
    )
    env: Annotated[dict[Variable, Argument], AfterValidator(_not_ours)] = Field(
        {},
        max_length=MOST_VARIABLES,
        description="For the workload's environment; no secrets, and none of `DATABASE_…`.",
    )

    def ask(self) -> Ask:
        return Ask(
            name=self.name,
            customer_id=CustomerId(self.customer_id),
            plan_tier=self.plan_tier,
            image=self.image,
            command=tuple(self.command),
            env=self.env,
        )


class PlanIn(In):
    plan_tier: Tier


class DatabaseOut(Out):
    """What the workload was last started with. The password is nowhere but with database-service and the workload."""

    db_host: str
    db_port: int
    db_user: str


class InstanceOut(Out):
    id: UUID
    name: str
    customer_id: str
    status: Status
    status_since: datetime
    wanted: Wanted = Field(description="What it is to be once what is being done to it is done.")
    plan_tier: Tier
    image: str | None
    command: list[str]
    env: dict[str, str]
    url: str | None = Field(description="Where its workload answers HTTP, as far as the runner of workloads knows.")
    database: DatabaseOut | None
    progress: dict[str, Any] | None = Field(
        description="How far a change of its plan is, as database-service tells it."
    )
    attempts: int = Field(description="Failed attempts since it last went well.")
    last_error: str | None = Field(description="Why it is not as wanted, or what it waits for.")
    created_at: datetime
    deleted_at: datetime | None

    @classmethod
    def of(cls, found: Instance) -> "InstanceOut":
        given, address = found.given, found.address
        return cls(
            id=found.id,
            name=found.ask.name,
            customer_id=found.ask.customer_id,
            status=found.status,
            status_since=found.status_since,
            wanted=found.wanted,
            plan_tier=found.plan_tier,
            image=found.ask.image,
            command=list(found.ask.command),
            env=dict(found.ask.env),
            url=f"http://{address.host}:{address.port}" if address else None,
            database=given
            and DatabaseOut(db_host=given.database.host, db_port=given.database.port, db_user=given.user),
            progress=None if found.progress is None else dict(found.progress),
            attempts=found.attempts,
            last_error=found.last_error,
            created_at=found.created_at,
            deleted_at=found.deleted_at,
        )


class InstancesOut(Out):
    instances: list[InstanceOut]
    total_count: int
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page) -> "InstancesOut":
        return cls(
            instances=[InstanceOut.of(found) for found in page.instances],
            total_count=page.total,
            next_cursor=cursor_of(page.next_before),
        )


class EventOut(Out):
    id: int
    at: datetime
    actor: str
    action: str
    before: str | None
    after: str | None
    why: str | None
    request_id: str | None

    @classmethod
    def of(cls, event: EventView) -> "EventOut":
        return cls(
            id=event.id, at=event.at, actor=event.actor, action=event.action, before=event.before, after=event.after,
            why=event.why, request_id=event.request_id,
        )  # fmt: skip


class EventsOut(Out):
    events: list[EventOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: EventPage) -> "EventsOut":
        return cls(events=[EventOut.of(event) for event in page.events], next_cursor=cursor_of(page.next_before))
