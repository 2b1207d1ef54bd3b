"""What a tenant database uses of its server, how that compares with its plan, and what follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from database_service.domain.ids import DatabaseId, ServerId
from database_service.domain.plans import Plan, Tier


class Level(StrEnum):
    """How full its plan's storage is."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    STOPPED = "stopped"


class Stop(StrEnum):
    """What a database that is too large may no longer do."""

    NONE = "none"
    WRITES = "writes"
    """Nothing new comes in; reading, deleting and cleaning go on."""
    DOOR = "door"
    """Nobody gets in: it went on growing all the same."""


ENTERED_AT: Mapping[Level, float] = {Level.WARNING: 0.8, Level.CRITICAL: 0.95, Level.STOPPED: 1.0}
"""Shares of the plan's storage."""

LEFT_BELOW: Mapping[Level, float] = {Level.OK: 0.0, Level.WARNING: 0.75, Level.CRITICAL: 0.9, Level.STOPPED: 0.9}
"""Lower than where a level is entered, so that a size which goes up and down is told of once."""

SHUT_BEYOND = 2.5
"""Times its plan, or what it had when its writes were stopped: VACUUM FULL needs a second copy of what it cleans."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What the server has counted for one database since it began to; `busy_s` are seconds of all sessions together."""

    transactions: int
    blocks: int
    temp_bytes: int
    busy_s: float


@dataclass(frozen=True, slots=True)
class Rates:
    """The same in each second between two samples."""

    transactions: float
    blocks: float
    temp_bytes: float
    busy: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What a server is asked about one of its databases. `written` and `sized_s_ago` are of when its size was last taken."""

    name: str
    written: int | None = None
    sized_s_ago: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one database. `size_bytes` is None where nothing says that it has changed; `written` counts rows."""

    name: str
    size_bytes: int | None
    written: int
    connections: int
    oldest_transaction_s: float | None
    counters: Counters


@dataclass(frozen=True, slots=True)
class Standing:
    """How a database stands with the storage of this plan. `stopped_bytes` is what it had when its writes were stopped."""

    tier: Tier
    level: Level = Level.OK
    stop: Stop = Stop.NONE
    stopped_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """The last sample of a database, and what is known from those before."""

    database_id: DatabaseId
    server_id: ServerId
    sampled_at: datetime
    connections: int
    oldest_transaction_s: float | None
    counters: Counters
    rates: Rates | None
    """None until there are two samples of the same server."""
    size_bytes: int | None
    written: int | None
    sized_at: datetime | None


def take_in(before: Usage | None, sample: Sample, database_id: DatabaseId, server_id: ServerId, now: datetime) -> Usage:
    """The usage after this sample. A size that was not taken is as it was."""
    stayed = before if before and before.server_id == server_id else None
    sized = sample.size_bytes is not None
    return Usage(
        database_id=database_id,
        server_id=server_id,
        sampled_at=now,
        connections=sample.connections,
        oldest_transaction_s=sample.oldest_transaction_s,
        counters=sample.counters,
        rates=_rates(stayed, sample.counters, now) if stayed else None,
        size_bytes=sample.size_bytes if sized else before.size_bytes if before else None,
        written=sample.written if sized else stayed.written if stayed else None,
        sized_at=now if sized else before.sized_at if before else None,
    )


def _rates(before: Usage, after: Counters, now: datetime) -> Rates | None:
    """None where the server began to count anew, or no time went by."""
    seconds, was = (now - before.sampled_at).total_seconds(), before.counters
    if seconds <= 0 or after.transactions < was.transactions:
        return None
    return Rates(
        transactions=(after.transactions - was.transactions) / seconds,
        blocks=max(0, after.blocks - was.blocks) / seconds,
        temp_bytes=max(0, after.temp_bytes - was.temp_bytes) / seconds,
        busy=max(0.0, after.busy_s - was.busy_s) / seconds,
    )


def judge(before: Standing, size_bytes: int, plan: Plan) -> Standing:
    """How a database of this size stands. Another plan than before is judged without its past: a bigger one frees at once."""
    known = before if before.tier is plan.tier else Standing(plan.tier)
    level = _level(known.level, size_bytes / plan.storage_bytes)
    if level is not Level.STOPPED:
        return Standing(plan.tier, level)
    stopped_bytes = known.stopped_bytes or size_bytes
    shut = known.stop is Stop.DOOR or size_bytes > SHUT_BEYOND * max(plan.storage_bytes, stopped_bytes)
    return Standing(plan.tier, level, Stop.DOOR if shut else Stop.WRITES, stopped_bytes)


def _level(before: Level, share: float) -> Level:
    reached = max((level for level, least in ENTERED_AT.items() if share >= least), key=_height, default=Level.OK)
    stays = share >= LEFT_BELOW[before]
    return max(before, reached, key=_height) if stays else reached


def _height(level: Level) -> float:
    return ENTERED_AT.get(level, 0.0)
