"""What servers and databases had, on the wire."""

from datetime import date, datetime
from typing import Annotated

from pydantic import Field

from database_service.api.schemas.common import LOGGED, Out
from database_service.views.history import DatabaseHistory, ServerHistory

Day = Annotated[date, LOGGED]


class PoolThenOut(Out):
    """What a server had in the hour or the day that began at `at`, by all looks at it."""

    at: datetime
    used_slots: int = Field(description="At last: those that held a database or a spare.")
    databases: int = Field(description="At last: those in use.")
    connections: int = Field(description="At most, of the databases in use together.")
    size_bytes: int = Field(description="At last, of the databases in use together.")


class PoolHistoryOut(Out):
    """The oldest first. An hour or a day in which nobody could look at the server is not there."""

    history: list[PoolThenOut]
    full_on: Day | None = Field(
        description="When its slots will all be taken at the pace of the last four weeks: the median of what came between any "
        "two days. Null where fewer than seven days are known, where it did not grow in the last seven, where it is full, and "
        "where it would take more than a year."
    )

    @classmethod
    def of(cls, found: ServerHistory) -> "PoolHistoryOut":
        return cls(
            history=[
                PoolThenOut(
                    at=each.at,
                    used_slots=each.slots,
                    databases=each.databases,
                    connections=each.connections,
                    size_bytes=each.size_bytes,
                )
                for each in found.stretches
            ],
            full_on=found.full_on,
        )


class SizeThenOut(Out):
    at: datetime
    size_bytes: int


class DatabaseHistoryOut(Out):
    """At the first look of each day, the oldest first, and now. Days are kept to seven digits."""

    history: list[SizeThenOut]
    full_on: Day | None = Field(
        description="When its plan's storage will be used up, as `full_on` of a pool's history tells of its slots."
    )

    @classmethod
    def of(cls, found: DatabaseHistory) -> "DatabaseHistoryOut":
        return cls(
            history=[SizeThenOut(at=each.at, size_bytes=each.size_bytes) for each in found.sizes],
            full_on=found.full_on,
        )
