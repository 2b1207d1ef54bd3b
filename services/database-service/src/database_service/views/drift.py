"""Drift as the doors show it: findings in the order they were first found, and how far the last look reached."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from database_service.deps import Deps
from database_service.domain.drift import Drift, Kind, State
from database_service.store.rows import DRIFT, drift_of


@dataclass(frozen=True, slots=True)
class LookView:
    """The last look: when it began and ended, what it could not look at (where, why), and whether another one is wanted."""

    began_at: datetime | None = None
    ended_at: datetime | None = None
    unlooked: tuple[tuple[str, str], ...] = ()
    wanted: bool = False


@dataclass(frozen=True, slots=True)
class DriftPage:
    """`total` counts all that match, not only this page."""

    drift: tuple[Drift, ...]
    total: int
    next_after: int | None
    """The `seq` to go on from; None at the end."""
    look: LookView


_MATCHING = """
WHERE ($1::text IS NULL OR d.kind = $1)
  AND CASE $2::text
    WHEN 'open' THEN d.gone_at IS NULL AND d.due_at IS NULL
    WHEN 'removing' THEN d.gone_at IS NULL AND d.due_at IS NOT NULL
    WHEN 'removed' THEN d.gone_at IS NOT NULL AND d.begun_at IS NOT NULL
    WHEN 'gone' THEN d.gone_at IS NOT NULL AND d.begun_at IS NULL
    ELSE d.gone_at IS NULL END"""

PAGE = f"SELECT {DRIFT} FROM drift d {_MATCHING} AND d.seq > $3 ORDER BY d.seq LIMIT $4"
COUNT = f"SELECT count(*) FROM drift d {_MATCHING}"
LOOK = """
SELECT began_at, ended_at, unlooked, coalesce(wanted_at > coalesce(began_at, '-infinity'), false) AS wanted FROM drift_look"""
COUNT_BY_KIND = "SELECT kind, count(*) AS things FROM drift WHERE gone_at IS NULL GROUP BY kind"


async def page(
    deps: Deps, *, kind: Kind | None = None, state: State | None = None, after: int = 0, limit: int = 50
) -> DriftPage:
    """Findings with `seq` beyond `after`. Without a state, all that are still there."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(PAGE, kind, state, after, limit + 1)
        total = await conn.fetchval(COUNT, kind, state)
        look = await conn.fetchrow(LOOK)
    drift = tuple(drift_of(row) for row in rows[:limit])
    return DriftPage(drift, total, drift[-1].seq if len(rows) > limit else None, _look(look) if look else LookView())


def _look(row: asyncpg.Record) -> LookView:
    places = tuple((place["where"], place["why"]) for place in row["unlooked"])
    return LookView(row["began_at"], row["ended_at"], places, row["wanted"])


async def count_by_kind(deps: Deps) -> Mapping[str, int]:
    """How many things of each kind are there; each kind is named, also with none."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(COUNT_BY_KIND)
    return {kind.value: 0 for kind in Kind} | {row["kind"]: row["things"] for row in rows}
