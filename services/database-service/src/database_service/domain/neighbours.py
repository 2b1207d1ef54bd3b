"""Who on a shared server takes how much of it, and what an operator may do about that."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

from database_service.domain.ids import CustomerId, InstanceId, ServerId
from database_service.domain.plans import MIB, PLANS, Tier
from database_service.domain.usage import Level, Rates, Stop
from database_service.domain.wording import size

LOUD = 0.5
"""Who takes so much of something leaves others too little."""
NEARLY = 0.9
IDLE_BLOCKS, IDLE_TEMP_BYTES, IDLE_SIZE_BYTES = 1000.0, float(MIB), 100.0 * MIB
"""So much of each may be used on an otherwise idle server without being called a share of it: blocks and bytes a second, bytes."""
OLD_TRANSACTION_S = 300.0


class Measure(StrEnum):
    CONNECTIONS = "connections"
    TIME = "time"
    BLOCKS = "blocks"
    TEMP = "temp"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class Whole:
    """What a server has, and what all its databases use of it together. Rates are for a second."""

    connections: int
    cpus: float
    blocks: float
    temp_bytes: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One database on a shared server, as it was last sampled."""

    instance_id: InstanceId
    customer_id: CustomerId
    tier: Tier
    server_id: ServerId
    server_name: str
    level: Level
    stop: Stop
    connections: int
    oldest_transaction_s: float | None
    rates: Rates
    size_bytes: int
    whole: Whole


@dataclass(frozen=True, slots=True)
class Shares:
    """Parts of the whole, 0 to 1; of time it may be more than its server has CPUs for."""

    connections: float
    time: float
    blocks: float
    temp: float
    size: float

    @property
    def greatest(self) -> Measure:
        return max((Measure(each.name) for each in fields(self)), key=self.of)

    def of(self, measure: Measure) -> float:
        share: float = getattr(self, measure)
        return share


@dataclass(frozen=True, slots=True)
class Ranked:
    """`advice` are sentences, the most urgent first; none where nothing is amiss."""

    neighbour: Neighbour
    shares: Shares
    advice: Sequence[str]


def rank(neighbours: Sequence[Neighbour]) -> Sequence[Ranked]:
    """The noisiest first: by the greatest of their shares."""
    ranked = [_ranked(neighbour) for neighbour in neighbours]
    return sorted(ranked, key=lambda each: (-each.shares.of(each.shares.greatest), each.neighbour.instance_id))


def _ranked(neighbour: Neighbour) -> Ranked:
    shares = shares_of(neighbour)
    return Ranked(neighbour, shares, tuple(_advice(neighbour, shares)))


def shares_of(neighbour: Neighbour) -> Shares:
    whole, rates = neighbour.whole, neighbour.rates
    return Shares(
        connections=neighbour.connections / max(whole.connections, 1),
        time=rates.busy / whole.cpus,
        blocks=rates.blocks / max(whole.blocks, IDLE_BLOCKS),
        temp=rates.temp_bytes / max(whole.temp_bytes, IDLE_TEMP_BYTES),
        size=neighbour.size_bytes / max(whole.size_bytes, IDLE_SIZE_BYTES),
    )


def _advice(neighbour: Neighbour, shares: Shares) -> Iterator[str]:
    yield from _on_storage(neighbour)
    yield from _on_connections(neighbour)
    yield from _on_transactions(neighbour)
    yield from _on_noise(neighbour, shares)


def _on_storage(neighbour: Neighbour) -> Iterator[str]:
    plan = PLANS[neighbour.tier]
    used = f"It uses {size(neighbour.size_bytes)} of the {size(plan.storage_bytes)} of its plan"
    if neighbour.stop is Stop.DOOR:
        yield f"{used} and went on growing when its writes were stopped, so its door is shut: {_bigger(neighbour.tier)}."
    elif neighbour.level is Level.STOPPED:
        yield f"{used}, so its writes are stopped: have it cleaned, or {_bigger(neighbour.tier)}."
    elif neighbour.level is Level.CRITICAL:
        yield f"{used}: have it cleaned, or {_bigger(neighbour.tier)}, before its writes are stopped."


def _on_connections(neighbour: Neighbour) -> Iterator[str]:
    most = PLANS[neighbour.tier].limits.connections
    if neighbour.connections >= NEARLY * most:
        yield (
            f"It has {neighbour.connections} sessions where its plan gives {most} to each login: "
            f"have its application pool them, or {_bigger(neighbour.tier)}."
        )


def _on_transactions(neighbour: Neighbour) -> Iterator[str]:
    oldest = neighbour.oldest_transaction_s or 0.0
    if oldest >= OLD_TRANSACTION_S:
        yield f"A transaction is open for {oldest / 60:.0f} min, and nothing it could see is cleaned up: look at who holds it."


def _on_noise(neighbour: Neighbour, shares: Shares) -> Iterator[str]:
    if shares.time >= LOUD:
        yield (
            f"It takes {shares.time:.0%} of the time of its server's CPUs: move it to an emptier pool, "
            f"or {_apart(neighbour.tier)}."
        )
    if shares.temp >= LOUD:
        yield (
            f"Its queries write {size(int(neighbour.rates.temp_bytes))} of temporary files in a second: "
            f"look at its sorts and joins; a larger work_mem may do."
        )
    if shares.blocks >= LOUD and shares.time < LOUD:
        yield f"It asks for {shares.blocks:.0%} of all blocks that are read: look for indexes that it lacks."
    if shares.size >= LOUD:
        yield f"It has {shares.size:.0%} of what all databases of its pool have on disk: mind the disk, or move it."


def _bigger(tier: Tier) -> str:
    tiers = list(Tier)
    following = tiers[tiers.index(tier) + 1 :]
    return f"change its plan to {following[0]}" if following else "give it a plan of its own"


def _apart(tier: Tier) -> str:
    return (
        "give it a server of its own"
        if PLANS[tier].dedicated
        else f"change its plan to {Tier.PREMIUM}, a server of its own"
    )
