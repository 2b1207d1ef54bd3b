"""Plans: what a customer pays for, as a kind of server and a set of limits."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from database_service.domain.errors import PlanHasNoDedicated, UnknownPlan

MIB = 1024 * 1024
GIB = 1024 * MIB


class Tier(StrEnum):
    FREE = "free"
    STARTER = "starter"
    STANDARD = "standard"
    PROFESSIONAL = "professional"
    PREMIUM = "premium"
    ENTERPRISE = "enterprise"


class ServerType(StrEnum):
    SHARED = "shared"
    DEDICATED = "dedicated"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one tenant database may use. `connections` counts sessions of each login; times end a session or statement."""

    connections: int
    statement_timeout: timedelta
    idle_in_transaction_timeout: timedelta
    temp_file_bytes: int


@dataclass(frozen=True, slots=True)
class DedicatedSize:
    """The server a dedicated plan gets: whole or part CPUs, bytes of memory."""

    cpu: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    tier: Tier
    server_type: ServerType
    limits: Limits
    grace: timedelta
    """How long released data is kept, and may be taken back."""
    dedicated: DedicatedSize | None
    """The dedicated server this plan may have; None where the plan has none."""


def _limits(connections: int, statement_s: int, idle_s: int, temp: int) -> Limits:
    return Limits(connections, timedelta(seconds=statement_s), timedelta(seconds=idle_s), temp)


PLANS: dict[Tier, Plan] = {
    Tier.FREE: Plan(Tier.FREE, ServerType.SHARED, _limits(5, 30, 60, 256 * MIB), timedelta(days=3), None),
    Tier.STARTER: Plan(Tier.STARTER, ServerType.SHARED, _limits(10, 60, 120, 512 * MIB), timedelta(days=7), None),
    Tier.STANDARD: Plan(Tier.STANDARD, ServerType.SHARED, _limits(20, 120, 300, GIB), timedelta(days=7), None),
    Tier.PROFESSIONAL: Plan(
        Tier.PROFESSIONAL,
        ServerType.SHARED,
        _limits(40, 300, 600, 4 * GIB),
        timedelta(days=14),
        DedicatedSize(1, 2 * GIB),
    ),
    Tier.PREMIUM: Plan(
        Tier.PREMIUM,
        ServerType.DEDICATED,
        _limits(80, 900, 1800, 16 * GIB),
        timedelta(days=30),
        DedicatedSize(2, 4 * GIB),
    ),
    Tier.ENTERPRISE: Plan(
        Tier.ENTERPRISE,
        ServerType.DEDICATED,
        _limits(160, 3600, 3600, 64 * GIB),
        timedelta(days=30),
        DedicatedSize(4, 8 * GIB),
    ),
}


def plan_of(tier: str) -> Plan:
    """The plan of that name; UnknownPlan where there is none."""
    try:
        return PLANS[Tier(tier)]
    except ValueError:
        raise UnknownPlan(tier, tuple(Tier)) from None


def seat_for(tier: str, *, require_dedicated: bool) -> ServerType:
    """The kind of server a database of this plan sits on; PlanHasNoDedicated where the wish exceeds the plan."""
    plan = plan_of(tier)
    if not require_dedicated:
        return plan.server_type
    if plan.dedicated is None:
        raise PlanHasNoDedicated(tier)
    return ServerType.DEDICATED
