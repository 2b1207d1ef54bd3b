"""Operations as the doors show them, newest first, each with its steps."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from database_service.deps import Deps
from database_service.domain.errors import OperationNotFound
from database_service.domain.ids import CustomerId, OperationId
from database_service.domain.operations import State
from database_service.store.owners import works_for
from database_service.store.pool import Conn

NEWEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class MoveView:
    """How far a database is on its way. `downtime_s` is how long nobody could use it, in the end."""

    phase: str
    fraction: float | None
    attempt: int
    plan_tier: str
    from_server: str
    to_server: str | None
    size_bytes: int | None
    downtime_s: float | None
    switched_at: datetime | None
    kept_until: datetime | None


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
    move: MoveView | None
    """None where nothing goes to another server."""


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


@dataclass(frozen=True, slots=True)
class Progress:
    """How many steps an operation has, and how many of them are over. `at` is the first that is not; None where all are."""

    steps: int = 0
    done: int = 0
    at: int | None = None


@dataclass(frozen=True, slots=True)
class ProgressPage:
    """Operations without their steps, of which one may have as many as there are servers, and how far each of them is."""

    operations: tuple[tuple[OperationView, Progress], ...]
    next_before: int | None
    """The `seq` to go on from; None at the end."""


@dataclass(frozen=True, slots=True)
class Followed:
    """One operation with a stretch of its steps, from the ordinal `first` on."""

    operation: OperationView
    progress: Progress
    first: int


_COLUMNS = "id, seq, kind, state, state_since, target, wish, created_by, created_at, finished_at, last_error"

PAGE = f"""
SELECT {_COLUMNS} FROM operations o
WHERE seq < $1 AND ($2::text IS NULL OR state = $2) AND ($4::text IS NULL OR {works_for("o.id", "$4")})
ORDER BY seq DESC LIMIT $3"""

ONE = f"SELECT {_COLUMNS} FROM operations WHERE id = $1"

STEPS = """
SELECT operation_id, ordinal, name, subject_id, state, error, started_at, finished_at FROM operation_steps
WHERE operation_id = ANY($1::uuid[]) ORDER BY operation_id, ordinal"""

PROGRESS = """
SELECT operation_id, count(*) AS steps, count(finished_at) AS done, min(ordinal) FILTER (WHERE finished_at IS NULL) AS at
FROM operation_steps WHERE operation_id = ANY($1::uuid[]) GROUP BY operation_id"""

STRETCH = """
SELECT operation_id, ordinal, name, subject_id, state, error, started_at, finished_at FROM operation_steps
WHERE operation_id = $1 AND ordinal >= $2 AND ordinal < $3 ORDER BY ordinal"""

MOVES = """
SELECT m.operation_id, m.ordinal, m.phase, m.fraction, m.attempt, m.tier_after AS plan_tier, s.name AS from_server,
       t.name AS to_server, m.size_bytes, extract(epoch FROM m.opened_at - m.fenced_at)::float8 AS downtime_s, m.switched_at,
       m.kept_until
FROM moves m JOIN servers s ON s.id = m.source_id LEFT JOIN servers t ON t.id = m.target_id
WHERE m.operation_id = ANY($1::uuid[]) AND ($2::int IS NULL OR m.ordinal >= $2 AND m.ordinal < $3)"""


async def page(
    deps: Deps,
    *,
    state: State | None = None,
    customer_id: CustomerId | None = None,
    before: int = NEWEST,
    limit: int = 50,
) -> OperationPage:
    """Operations with `seq` under `before`; with `customer_id` those that work on this customer's alone."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(PAGE, before, state, limit + 1, customer_id)
        steps = await _steps(conn, [row["id"] for row in rows[:limit]])
    found = _with_steps(rows[:limit], steps)
    return OperationPage(found, found[-1].seq if len(rows) > limit else None)


async def progress_page(
    deps: Deps, *, state: State | None = None, before: int = NEWEST, limit: int = 50
) -> ProgressPage:
    """As `page`, with how far each is in place of its steps."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(PAGE, before, state, limit + 1, None)
        progress = await _progress(conn, [row["id"] for row in rows[:limit]])
    found = tuple((OperationView(**dict(row)), progress.get(row["id"], Progress())) for row in rows[:limit])
    return ProgressPage(found, found[-1][0].seq if len(rows) > limit else None)


async def followed(deps: Deps, operation_id: OperationId, first: int | None = None, most: int = 100) -> Followed:
    """`most` steps of it from `first` on; without that, those among which the step in hand is. OperationNotFound."""
    async with deps.db.reading() as conn:
        row = await conn.fetchrow(ONE, operation_id)
        if row is None:
            raise OperationNotFound(operation_id)
        progress = (await _progress(conn, [operation_id])).get(operation_id, Progress())
        if first is None:
            first = ((progress.at or 1) - 1) // most * most + 1
        until = first + most
        moves = _moves(await conn.fetch(MOVES, [operation_id], first, until))
        steps = _steps_of(await conn.fetch(STRETCH, operation_id, first, until), moves)
    return Followed(_with_steps([row], steps)[0], progress, first)


async def _progress(conn: Conn, operation_ids: Sequence[UUID]) -> Mapping[UUID, Progress]:
    told = map(dict, await conn.fetch(PROGRESS, operation_ids))
    return {each.pop("operation_id"): Progress(**each) for each in told}


async def one(deps: Deps, operation_id: OperationId) -> OperationView:
    """OperationNotFound where there is none."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(ONE, operation_id)
        steps = await _steps(conn, [operation_id])
    if not rows:
        raise OperationNotFound(operation_id)
    return _with_steps(rows, steps)[0]


async def _steps(conn: Conn, operation_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[StepView]]:
    moves = _moves(await conn.fetch(MOVES, operation_ids, None, None))
    return _steps_of(await conn.fetch(STEPS, operation_ids), moves)


def _moves(rows: Iterable[asyncpg.Record]) -> Mapping[tuple[UUID, int], MoveView]:
    return {(told.pop("operation_id"), told.pop("ordinal")): MoveView(**told) for told in map(dict, rows)}


def _steps_of(
    rows: Iterable[asyncpg.Record], moves: Mapping[tuple[UUID, int], MoveView]
) -> Mapping[UUID, Sequence[StepView]]:
    of: defaultdict[UUID, list[StepView]] = defaultdict(list)
    for told in map(dict, rows):
        operation_id = told.pop("operation_id")
        of[operation_id].append(StepView(**told, move=moves.get((operation_id, told["ordinal"]))))
    return of


def _with_steps(rows: Sequence[asyncpg.Record], steps: Mapping[UUID, Sequence[StepView]]) -> tuple[OperationView, ...]:
    return tuple(replace(OperationView(**dict(row)), steps=tuple(steps.get(row["id"], ()))) for row in rows)
