"""Rows of `server_history` and `database_history`: what samples found, by the hour and by the day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from database_service.domain.growth import Point, Sizes
from database_service.domain.ids import DatabaseId, ServerId
from database_service.domain.plans import Tier
from database_service.store.pool import Conn

# Both stretches in one statement, and no write where nothing is new: most looks find what the one before found.
KEEP_SERVER = """
INSERT INTO server_history AS h (server_id, hours, at, databases, slots, connections, size_bytes)
SELECT $1, stretch.hours, stretch.at, seen.databases, slot.taken, seen.connections, seen.size_bytes
FROM (VALUES (1, date_trunc('hour', $2::timestamptz)), (24, date_trunc('day', $2::timestamptz))) stretch (hours, at),
     (SELECT count(*) AS databases, coalesce(sum(u.connections), 0) AS connections, coalesce(sum(u.size_bytes), 0) AS size_bytes
      FROM databases d LEFT JOIN usage u ON u.database_id = d.id AND u.server_id = d.server_id
      WHERE d.server_id = $1 AND d.status = 'ready') seen,
     (SELECT count(database_id) AS taken FROM slots WHERE server_id = $1) slot
ON CONFLICT (server_id, hours, at) DO UPDATE SET databases = excluded.databases, slots = excluded.slots,
  connections = greatest(h.connections, excluded.connections), size_bytes = excluded.size_bytes
WHERE (h.databases, h.slots, h.size_bytes) IS DISTINCT FROM (excluded.databases, excluded.slots, excluded.size_bytes)
   OR h.connections < excluded.connections
RETURNING hours = 1 AND xmax = 0 AS first_of_hour"""


async def keep_server(conn: Conn, server_id: ServerId, now: datetime) -> bool:
    """What its databases use together, by their rows of `usage`; whether this was the first look of the hour."""
    return any(row["first_of_hour"] for row in await conn.fetch(KEEP_SERVER, server_id, now))


DAYS_OF_SERVER = """
SELECT (at AT TIME ZONE 'UTC')::date AS day, slots FROM server_history
WHERE server_id = $1 AND hours = 24 AND at > $2 ORDER BY at"""


async def slots_by_day(conn: Conn, server_id: ServerId, since: datetime) -> Sequence[Point]:
    return [Point(row["day"], row["slots"]) for row in await conn.fetch(DAYS_OF_SERVER, server_id, since)]


EXPECT_FULL = """
UPDATE server_history SET full_on = $3
WHERE server_id = $1 AND hours = 24 AND at = date_trunc('day', $2::timestamptz) AND full_on IS DISTINCT FROM $3"""


async def expect_full(conn: Conn, server_id: ServerId, now: datetime, full_on: date | None) -> None:
    await conn.execute(EXPECT_FULL, server_id, now, full_on)


@dataclass(frozen=True, slots=True)
class Grown:
    """A database in use whose size of this day is not written yet; `before` is None where none ever was."""

    id: DatabaseId
    tier: Tier
    size_bytes: int
    before: Sizes | None


NOT_WRITTEN = """
SELECT d.id, d.plan_tier, u.size_bytes, h.last_day, h.sizes
FROM databases d JOIN usage u ON u.database_id = d.id AND u.server_id = d.server_id
LEFT JOIN database_history h ON h.database_id = d.id
WHERE d.server_id = $1 AND d.status = 'ready' AND u.size_bytes IS NOT NULL AND (h.last_day IS NULL OR h.last_day < $2)
ORDER BY d.id"""


async def not_written(conn: Conn, server_id: ServerId, today: date) -> Sequence[Grown]:
    """Of those on this server."""
    return [
        Grown(
            id=row["id"],
            tier=Tier(row["plan_tier"]),
            size_bytes=row["size_bytes"],
            before=Sizes(row["last_day"], tuple(row["sizes"])) if row["last_day"] else None,
        )
        for row in await conn.fetch(NOT_WRITTEN, server_id, today)
    ]


# Arrays of several lengths travel as texts: `unnest` would make one of them all.
WRITE = """
INSERT INTO database_history AS h (database_id, last_day, sizes, full_on)
SELECT id, last_day, sizes::real[], full_on
FROM unnest($1::uuid[], $2::date[], $3::text[], $4::date[]) AS told (id, last_day, sizes, full_on)
ON CONFLICT (database_id) DO UPDATE SET last_day = excluded.last_day, sizes = excluded.sizes, full_on = excluded.full_on
WHERE h.last_day < excluded.last_day"""


async def write(conn: Conn, grown: Mapping[DatabaseId, tuple[Sizes, date | None]]) -> None:
    """The days of each, and when it will be full. Whoever wrote a day first is right about it."""
    told = grown.values()
    await conn.execute(
        WRITE,
        list(grown),
        [sizes.last_day for sizes, _ in told],
        [_array(sizes) for sizes, _ in told],
        [full_on for _, full_on in told],
    )


def _array(sizes: Sizes) -> str:
    return "{" + ",".join("NULL" if size is None else repr(size) for size in sizes.sizes) + "}"


FORGET = """
WITH gone AS (
    DELETE FROM server_history WHERE (server_id, hours, at) IN (
        SELECT server_id, hours, at FROM server_history WHERE hours = $1 AND at < $2 ORDER BY at LIMIT $3
    ) RETURNING 1
)
SELECT count(*)::int FROM gone"""


async def forget(conn: Conn, hours: int, before: datetime, most: int) -> int:
    """Forget up to `most` stretches of this length that began before, the oldest first; how many those were."""
    return int(await conn.fetchval(FORGET, hours, before, most))
