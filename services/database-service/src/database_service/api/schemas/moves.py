"""Moves and changes of plan on the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from database_service.actions.change_plan import Wanted
from database_service.actions.survey_move import MoveReport
from database_service.api.schemas.common import In, Out, Text
from database_service.domain.ids import InstanceId
from database_service.domain.plans import Tier
from database_service.domain.servers import Server
from database_service.views.operations import MoveView

DryRun = Annotated[bool, Field(description="Only say what it would mean.")]


class ChangePlanIn(In):
    """Another plan. Where it needs another kind of server, the database is moved there."""

    plan_tier: Tier
    require_dedicated: bool = Field(False, description="A server of its own, where the plan leaves the choice.")
    dry_run: DryRun = False

    def wanted(self, instance_id: str) -> Wanted:
        return Wanted(InstanceId(instance_id), self.plan_tier, self.require_dedicated)


class MoveIn(In):
    """Where to; without a pool, any other one with room."""

    pool_id: UUID | None = None
    dry_run: DryRun = False


class RebalanceIn(In):
    most: int = Field(10, ge=1, le=1000, description="How many databases are moved at most.")


class ServerRefOut(Out):
    id: UUID
    name: Text

    @classmethod
    def of(cls, server: Server | None) -> "ServerRefOut | None":
        return cls(id=server.id, name=server.name) if server else None


class MoveReportOut(Out):
    """What a change would mean, found out without changing anything."""

    instance_id: Text
    moves: bool = Field(description="Whether it goes to another server. If not, nobody notices anything.")
    plan_tier: Text
    server_type: Text
    from_server: ServerRefOut | None
    to_server: ServerRefOut | None = Field(description="As things stand; null where a server has to be made first.")
    size_bytes: int | None
    tables: int | None
    large_objects: int | None
    extensions: list[Text]
    estimated_downtime_s: float = Field(description="How long nobody could use it, by what moves took lately.")
    blockers: list[Text] = Field(description="Why it cannot be moved, and what to do about each.")
    losses: list[Text] = Field(description="What would not come along. All of it harmless.")

    @classmethod
    def of(cls, report: MoveReport) -> "MoveReportOut":
        found = report.survey
        return cls(
            instance_id=report.instance_id,
            moves=report.moves,
            plan_tier=report.terms.plan_tier,
            server_type=report.terms.server_type,
            from_server=ServerRefOut.of(report.source),
            to_server=ServerRefOut.of(report.target),
            size_bytes=found.size_bytes if found else None,
            tables=found.tables if found else None,
            large_objects=found.large_objects if found else None,
            extensions=list(found.extensions) if found else [],
            estimated_downtime_s=round(report.downtime.total_seconds(), 1),
            blockers=list(found.blockers) if found else [],
            losses=list(found.losses) if found else [],
        )


class MoveOut(Out):
    """How far a database is on its way to another server."""

    phase: Text
    fraction: float | None = Field(description="How much of the phase is done, 0 to 1; null where nobody can tell.")
    attempt: int
    plan_tier: Text = Field(description="The plan it has once it is there.")
    from_server: Text
    to_server: Text | None = Field(description="Null until it has a place.")
    size_bytes: int | None
    downtime_s: float | None = Field(description="How long nobody could use it; null until that is over.")
    switched_at: datetime | None = Field(description="From here on the other server counts.")
    kept_until: datetime | None = Field(description="Until when what it left behind is kept, shut.")

    @classmethod
    def of(cls, move: MoveView) -> "MoveOut":
        return cls(
            phase=move.phase,
            fraction=move.fraction,
            attempt=move.attempt,
            plan_tier=move.plan_tier,
            from_server=move.from_server,
            to_server=move.to_server,
            size_bytes=move.size_bytes,
            downtime_s=move.downtime_s,
            switched_at=move.switched_at,
            kept_until=move.kept_until,
        )
