"""Operations as the doors show them, newest first, each with its steps."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from database_service.deps import Deps
from database_service.domain.errors import OperationNotFound
from database_service.domain.ids import OperationId
from database_service.domain.operations import State

NEWEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class StepView:
    """The work on one subject."""

    ordinal: int
    name: str
    subject_id: UUID
    state: str
    error: str | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class OperationView:
    """One operation. `last_error` is why it failed, or what it waits for now; `wish` takes effect after the step in hand."""

    id: OperationId
    seq: int
    kind: str
    state: str
    state_since: datetime
    target: Mapping[str, object]
    wish: str | None
    created_by: str
    created_at: datetime
    finished_at: datetime | None
    last_error: str | None
    steps: tuple[StepView, ...] = ()


@dataclass(frozen=True, slots=True)
class OperationPage:
    operations: tuple[OperationView, ...]
    next_before: int | None
    """The `seq` to go on from; None at the end."""


_COLUMNS = "id, seq, kind, state, state_since, target, wish, created_by, created_at, finished_at, last_error"

PAGE = f"""
SELECT {_COLUMNS} FROM operations WHERE seq < $1 AND ($2::text IS NULL OR state = $2) ORDER BY seq DESC LIMIT $3"""

ONE = f"SELECT {_COLUMNS} FROM operations WHERE id = $1"

STEPS = """
SELECT operation_id, ordinal, name, subject_id, state, error, started_at, finished_at FROM operation_steps
WHERE operation_id = ANY($1::uuid[]) ORDER BY operation_id, ordinal"""


async def page(deps: Deps, *, state: State | None = None, before: int = NEWEST, limit: int = 50) -> OperationPage:
    """Operations with `seq` under `before`."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(PAGE, before, state, limit + 1)
        steps = await conn.fetch(STEPS, [row["id"] for row in rows[:limit]])
    found = _with_steps(rows[:limit], steps)
    return OperationPage(found, found[-1].seq if len(rows) > limit else None)


async def one(deps: Deps, operation_id: OperationId) -> OperationView:
    """OperationNotFound where there is none."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(ONE, operation_id)
        steps = await conn.fetch(STEPS, [operation_id])
    if not rows:
        raise OperationNotFound(operation_id)
    return _with_steps(rows, steps)[0]


def _with_steps(rows: list[asyncpg.Record], steps: list[asyncpg.Record]) -> tuple[OperationView, ...]:
    of: defaultdict[UUID, list[StepView]] = defaultdict(list)
    for step in steps:
        told = dict(step)
        of[told.pop("operation_id")].append(StepView(**told))
    return tuple(replace(OperationView(**dict(row)), steps=tuple(of[row["id"]])) for row in rows)
