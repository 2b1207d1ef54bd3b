"""How servers and databases grew, as the doors show it, and who will be full soon."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from database_service.deps import Deps
from database_service.domain.errors import DatabaseNotFound, ServerNotFound
from database_service.domain.growth import HOURS_KEPT, LOOKED_BACK, SOON, Point, Sizes, Stretch, full_on
from database_service.domain.ids import InstanceId, ServerId
from database_service.domain.plans import plan_of
from database_service.store.history import slots_by_day

FRESH = timedelta(days=2)
"""What was last known longer ago says nothing of what is to come."""


@dataclass(frozen=True, slots=True)
class ServerThen:
    """What a server had in the hour or day that began at `at`: connections are the most of it, the others the last."""

    at: datetime
    databases: int
    slots: int
    connections: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ServerHistory:
    """The oldest first. `full_on` is when its slots are all taken at the pace of these days; None where nothing says so."""

    stretches: tuple[ServerThen, ...]
    full_on: date | None


@dataclass(frozen=True, slots=True)
class SizeThen:
    at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DatabaseHistory:
    """Its size at the first look of each day, the oldest first, and now. `full_on`: when its plan's storage is used up."""

    sizes: tuple[SizeThen, ...]
    full_on: date | None


KNOWN = "SELECT max_instances FROM servers WHERE id = $1"

OF_SERVER = """
SELECT at, databases, slots, connections, size_bytes FROM server_history
WHERE server_id = $1 AND hours = $2 AND at > $3 ORDER BY at"""


async def of_server(deps: Deps, server_id: ServerId, by: Stretch) -> ServerHistory:
    """Two weeks by the hour, or as far back as it is kept by the day. ServerNotFound where there is none."""
    now = deps.now()
    since = now - (HOURS_KEPT if by is Stretch.HOUR else deps.policy.history_keep)
    async with deps.db.reading() as conn:
        slots = await conn.fetchval(KNOWN, server_id)
        rows = await conn.fetch(OF_SERVER, server_id, by.hours, since)
        days = await slots_by_day(conn, server_id, now - LOOKED_BACK)
    if slots is None:
        raise ServerNotFound(server_id)
    expected = _expected(days, slots, now.date())
    return ServerHistory(tuple(ServerThen(**dict(row)) for row in rows), expected)


OF_DATABASE = """
SELECT d.plan_tier, coalesce(d.claimed_at, d.created_at) AS asked_at, h.last_day, h.sizes, u.size_bytes, u.sized_at
FROM databases d LEFT JOIN usage u ON u.database_id = d.id LEFT JOIN database_history h ON h.database_id = d.id
WHERE d.instance_id = $1"""


async def of_database(deps: Deps, instance_id: InstanceId) -> DatabaseHistory:
    """DatabaseNotFound where there never was one. Its first day begins when it was asked for. The expectation is of now, with the
    plan that it has now."""
    row = await deps.db.row(OF_DATABASE, instance_id)
    if row is None:
        raise DatabaseNotFound(instance_id)
    if row["size_bytes"] is None:
        return DatabaseHistory((), None)
    days = Sizes(row["last_day"], tuple(row["sizes"])).points if row["last_day"] else []
    sizes = [SizeThen(max(_midnight(point.day), row["asked_at"]), round(point.value)) for point in days]
    expected = _expected(days, plan_of(row["plan_tier"]).storage_bytes, deps.now().date())
    return DatabaseHistory((*sizes, SizeThen(row["sized_at"], row["size_bytes"])), expected)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _expected(points: Sequence[Point], most: float, today: date) -> date | None:
    """None where nobody has looked for days, and where the day is past: what was expected did not come."""
    if not points or points[-1].day < today - FRESH:
        return None
    day = full_on(points, most)
    return day if day and day >= today else None


@dataclass(frozen=True, slots=True)
class FullSoon:
    """A server whose slots, or a database whose storage, will be used up on that day."""

    kind: str
    """`server` or `database`."""
    id: str
    """Of a database, its instance."""
    name: str
    full_on: date


@dataclass(frozen=True, slots=True)
class FullSoonPage:
    """The first of them. `counts` are all, by kind."""

    first: tuple[FullSoon, ...]
    counts: Mapping[str, int]


# What was expected of one that nobody could look at since is a day old at most.
FULL_SOON = """
(SELECT 'server' AS kind, s.id::text, s.name, h.full_on, count(*) OVER () AS total
 FROM server_history h JOIN servers s ON s.id = h.server_id
 WHERE h.hours = 24 AND h.at > $1::timestamptz - interval '2 days' AND h.full_on BETWEEN $2::date AND $3::date
   AND s.status = 'active'
   AND NOT EXISTS (SELECT FROM server_history n WHERE n.server_id = h.server_id AND n.hours = 24 AND n.at > h.at)
 ORDER BY h.full_on, s.seq LIMIT $4)
UNION ALL
(SELECT 'database', d.instance_id, d.instance_id, h.full_on, count(*) OVER ()
 FROM database_history h JOIN databases d ON d.id = h.database_id
 WHERE h.full_on BETWEEN $2::date AND $3::date AND h.last_day >= $2::date - 2 AND d.status = 'ready'
 ORDER BY h.full_on, d.instance_id LIMIT $4)"""


async def full_soon(deps: Deps, most: int = 5) -> FullSoonPage:
    """Within two weeks, the soonest first; up to so many of each kind."""
    now = deps.now()
    async with deps.db.reading() as conn:
        rows = await conn.fetch(FULL_SOON, now, now.date(), (now + SOON).date(), most)
    return FullSoonPage(
        tuple(FullSoon(row["kind"], row["id"], row["name"], row["full_on"]) for row in rows),
        dict.fromkeys(("server", "database"), 0) | {row["kind"]: row["total"] for row in rows},
    )
