"""Plans: what a customer pays for, as what a workload may use. What the database gets is database-service's to know."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MIB = 1024 * 1024


class Tier(StrEnum):
    FREE = "free"
    STARTER = "starter"
    STANDARD = "standard"
    PROFESSIONAL = "professional"
    PREMIUM = "premium"
    ENTERPRISE = "enterprise"


@dataclass(frozen=True, slots=True)
class Size:
    """Whole or part CPUs, bytes of memory."""

    cpu: float
    memory_bytes: int


SIZES: Mapping[Tier, Size] = {
    Tier.FREE: Size(0.5, 256 * MIB),
    Tier.STARTER: Size(0.5, 256 * MIB),
    Tier.STANDARD: Size(1, 512 * MIB),
    Tier.PROFESSIONAL: Size(1, 1024 * MIB),
    Tier.PREMIUM: Size(2, 2048 * MIB),
    Tier.ENTERPRISE: Size(4, 4096 * MIB),
}
"""The most that a workload of each plan gets."""
