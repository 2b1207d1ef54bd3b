"""Plans: what a customer pays for, as a kind of server and a set of limits."""

from dataclasses import dataclass, replace
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
    transaction_timeout: timedelta
    """How long a transaction may be open at all, however busy: what it holds back, VACUUM for one, is its whole database's."""
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
    storage_bytes: int
    """What a database may have on disk; one that has more takes nothing new until it has less."""
    grace: timedelta
    """How long released data is kept, and may be taken back."""
    dedicated: DedicatedSize | None
    """The dedicated server this plan may have; None where the plan has none."""


def _limits(connections: int, statement_s: int, idle_s: int, transaction_s: int, temp: int) -> Limits:
    return Limits(
        connections, timedelta(seconds=statement_s), timedelta(seconds=idle_s), timedelta(seconds=transaction_s), temp
    )


PLANS: dict[Tier, Plan] = {
    Tier.FREE: Plan(Tier.FREE, ServerType.SHARED, _limits(5, 30, 60, 900, 256 * MIB), GIB, timedelta(days=3), None),
    Tier.STARTER: Plan(
        Tier.STARTER, ServerType.SHARED, _limits(10, 60, 120, 1800, 512 * MIB), 5 * GIB, timedelta(days=7), None
    ),
    Tier.STANDARD: Plan(
        Tier.STANDARD, ServerType.SHARED, _limits(20, 120, 300, 3600, GIB), 20 * GIB, timedelta(days=7), None
    ),
    Tier.PROFESSIONAL: Plan(
        Tier.PROFESSIONAL,
        ServerType.SHARED,
        _limits(40, 300, 600, 7200, 4 * GIB),
        100 * GIB,
        timedelta(days=14),
        DedicatedSize(1, 2 * GIB),
    ),
    Tier.PREMIUM: Plan(
        Tier.PREMIUM,
        ServerType.DEDICATED,
        _limits(80, 900, 1800, 21600, 16 * GIB),
        500 * GIB,
        timedelta(days=30),
        DedicatedSize(2, 4 * GIB),
    ),
    Tier.ENTERPRISE: Plan(
        Tier.ENTERPRISE,
        ServerType.DEDICATED,
        _limits(160, 3600, 3600, 86400, 64 * GIB),
        2048 * GIB,
        timedelta(days=30),
        DedicatedSize(4, 8 * GIB),
    ),
}


def fitted(limits: Limits, sessions: int) -> Limits:
    """On a shared server with so many sessions, no tenant gets more than half: a quarter for each of the two logins that a
    rotation may have at once."""
    return replace(limits, connections=max(1, min(limits.connections, sessions // 4)))


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
