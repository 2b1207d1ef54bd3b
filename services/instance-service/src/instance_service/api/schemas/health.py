"""Liveness and readiness on the wire."""

from typing import Literal

from pydantic import Field

from instance_service.api.schemas.common import Out


class AliveOut(Out):
    status: Literal["alive"] = "alive"


class CheckOut(Out):
    ok: bool
    ms: float
    message: str | None


class ReadyOut(Out):
    """Without the broker work is delayed, not refused: `degraded`."""

    status: Literal["ready", "degraded", "unavailable"]
    own_database: CheckOut
    broker: CheckOut | None
    overdue_seconds: float | None = Field(description="How long the oldest work that is due has waited.")
