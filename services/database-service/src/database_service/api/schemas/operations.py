"""Operations on the wire, and what is asked for when one begins."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from database_service.actions.change_servers import Chosen, Every
from database_service.api.paging import cursor_of
from database_service.api.schemas.common import In, Line, Out, Text
from database_service.api.schemas.moves import MoveOut
from database_service.api.schemas.pools import Cpus, Memory, Slots
from database_service.domain.ids import ServerId
from database_service.domain.operations import Target
from database_service.views.operations import OperationPage, OperationView, StepView

Pools = Annotated[
    Annotated[list[UUID], Field(min_length=1, max_length=1000)] | Every,
    Field(description="Ids of active servers, in the order they come; or all active ones that are shared, or all."),
]


class ChosenIn(In):
    pools: Pools = Every.SHARED

    def chosen(self) -> Chosen:
        return self.pools if isinstance(self.pools, Every) else [ServerId(pool) for pool in self.pools]


class RolloutIn(ChosenIn):
    """What servers shall be from now on, one after the other. What is left out stays as it is."""

    image: Line | None = Field(None, description="Found once, at the start, and pinned; of the same major version.")
    memory_limit: Memory | None = Field(None, description="Bytes.")
    cpu_limit: Cpus | None = None
    max_instances: Slots | None = None
    tls: Literal[True] | None = Field(
        None, description="They speak TLS from then on, and let nobody in without: their image has to be able to."
    )

    def target(self) -> Target:
        return Target(
            image=self.image,
            memory_limit=self.memory_limit,
            cpu_limit=self.cpu_limit,
            max_instances=self.max_instances,
            tls=self.tls,
        )


class RotateAdminPasswordIn(ChosenIn):
    """Whose administrators get a new password. Nothing is restarted and nobody's session ends."""


class StepOut(Out):
    ordinal: int
    name: Text = Field(description="The server's, or the instance whose database it is.")
    subject_id: UUID
    state: Text
    error: Text | None
    started_at: datetime | None
    finished_at: datetime | None
    progress: MoveOut | None = Field(description="Where a database goes to another server: how far it is.")

    @classmethod
    def of(cls, step: StepView) -> "StepOut":
        return cls(
            ordinal=step.ordinal,
            name=step.name,
            subject_id=step.subject_id,
            state=step.state,
            error=step.error,
            started_at=step.started_at,
            finished_at=step.finished_at,
            progress=MoveOut.of(step.move) if step.move else None,
        )


class OperationOut(Out):
    """Long work, step by step."""

    id: UUID
    kind: Text
    state: Text
    state_since: datetime
    target: Mapping[str, object]
    wish: Text | None = Field(description="`pause` or `cancel`, which takes effect after the step in hand.")
    error: Text | None = Field(description="Why it failed, or what it waits for now.")
    steps: list[StepOut]
    created_by: Text
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, operation: OperationView) -> "OperationOut":
        return cls(
            id=operation.id,
            kind=operation.kind,
            state=operation.state,
            state_since=operation.state_since,
            target=operation.target,
            wish=operation.wish,
            error=operation.last_error,
            steps=[StepOut.of(step) for step in operation.steps],
            created_by=operation.created_by,
            created_at=operation.created_at,
            finished_at=operation.finished_at,
        )


class OperationsOut(Out):
    operations: list[OperationOut]
    next_cursor: Text | None

    @classmethod
    def of(cls, page: OperationPage) -> "OperationsOut":
        return cls(
            operations=[OperationOut.of(operation) for operation in page.operations],
            next_cursor=cursor_of(page.next_before),
        )
