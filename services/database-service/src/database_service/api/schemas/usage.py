"""What databases use, on the wire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from database_service.api.schemas.common import Out, Text
from database_service.domain.neighbours import Ranked, Shares
from database_service.domain.plans import PLANS, Tier
from database_service.views.usage import UsageView


class UsageOut(Out):
    """The last sample of a database. What is told for each second is since the sample before, and null until there are two."""

    state: Literal["ok", "warning", "critical", "stopped"] = Field(
        description="How full its plan's storage is: `warning` from 80 %, `critical` from 95 %. From 100 % writes are `stopped` "
        "until less than 90 % is used."
    )
    state_since: datetime | None = Field(description="Null where it always was `ok`.")
    door_shut: bool = Field(description="It went on growing when its writes were stopped, and nobody gets in.")
    size_bytes: int | None = Field(description="On disk; null until it was first measured.")
    storage_bytes: int = Field(description="What its plan gives.")
    size_percent: float | None
    sized_at: datetime | None
    connections: int
    oldest_transaction_s: float | None = Field(description="Null where none is open.")
    transactions_per_s: float | None
    blocks_per_s: float | None = Field(description="Blocks of 8 KiB that were asked for, in memory or not.")
    temp_bytes_per_s: float | None
    busy: float | None = Field(
        description="Seconds that its sessions were at work in each second: 2.0 is two of them, always."
    )
    sampled_at: datetime

    @classmethod
    def of(cls, usage: UsageView, tier: str, *, door_shut: bool) -> "UsageOut":
        storage_bytes = PLANS[Tier(tier)].storage_bytes
        return cls(
            state=usage.level,
            state_since=usage.level_since,
            door_shut=door_shut,
            size_bytes=usage.size_bytes,
            storage_bytes=storage_bytes,
            size_percent=None if usage.size_bytes is None else _percent(usage.size_bytes / storage_bytes),
            sized_at=usage.sized_at,
            connections=usage.connections,
            oldest_transaction_s=usage.oldest_transaction_s,
            transactions_per_s=usage.transactions_per_s,
            blocks_per_s=usage.blocks_per_s,
            temp_bytes_per_s=usage.temp_bytes_per_s,
            busy=usage.busy,
            sampled_at=usage.sampled_at,
        )


class SharesOut(Out):
    """Percent: of the server's sessions and CPUs, and of what all its databases together read, spill and have on disk."""

    connections: float
    time: float
    blocks: float
    temp: float
    size: float

    @classmethod
    def of(cls, shares: Shares) -> "SharesOut":
        return cls(
            connections=_percent(shares.connections),
            time=_percent(shares.time),
            blocks=_percent(shares.blocks),
            temp=_percent(shares.temp),
            size=_percent(shares.size),
        )


class NeighbourOut(Out):
    """One database on a pool, and how much of it that takes. Rates are for each second between the last two samples."""

    instance_id: Text
    customer_id: Text
    plan_tier: Text
    pool_id: UUID
    pool_name: Text
    state: Text = Field(description="As in `usage` of the database.")
    loudest: Text = Field(description="The share by which it is ranked.")
    shares: SharesOut
    connections: int
    oldest_transaction_s: float | None
    blocks_per_s: float
    temp_bytes_per_s: float
    busy: float
    size_bytes: int
    advice: list[Text] = Field(description="What to do, the most urgent first; empty where nothing is amiss.")

    @classmethod
    def of(cls, ranked: Ranked) -> "NeighbourOut":
        seen = ranked.neighbour
        return cls(
            instance_id=seen.instance_id,
            customer_id=seen.customer_id,
            plan_tier=seen.tier,
            pool_id=seen.server_id,
            pool_name=seen.server_name,
            state=seen.level,
            loudest=ranked.shares.greatest,
            shares=SharesOut.of(ranked.shares),
            connections=seen.connections,
            oldest_transaction_s=seen.oldest_transaction_s,
            blocks_per_s=round(seen.rates.blocks, 1),
            temp_bytes_per_s=round(seen.rates.temp_bytes, 1),
            busy=round(seen.rates.busy, 3),
            size_bytes=seen.size_bytes,
            advice=list(ranked.advice),
        )


class NeighboursOut(Out):
    neighbours: list[NeighbourOut]

    @classmethod
    def of(cls, ranked: Sequence[Ranked]) -> "NeighboursOut":
        return cls(neighbours=[NeighbourOut.of(each) for each in ranked])


def _percent(share: float) -> float:
    return round(100 * share, 1)
