"""The fleet as the hub sees it: whether anything about it changed, what needs attention, and a map of all servers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from database_service.deps import Deps
from database_service.domain.errors import ServerNotFound
from database_service.domain.ids import ServerId

# Every change leaves an event; a look at a server that finds it as it was leaves only another version.
FINGERPRINT = """
SELECT concat_ws('.', (SELECT max(id) FROM events), count(*), sum(version)) FROM servers"""


async def fingerprint(deps: Deps) -> str:
    """The same text for as long as nothing changes that the hub shows."""
    row = await deps.db.row(FINGERPRINT)
    return str(row[0]) if row else ""


@dataclass(frozen=True, slots=True)
class Looks:
    """How servers look on a map, in the order they were made: a word for each, with a number where some before it are left out.

    `@7 h50/48 u50/50`: the server with seq 7 is healthy and has 48 of 50 slots in use; the next one, all of them, and is ill.
    What is worst is what is told: who is ill and cordoned is ill.
    """

    servers: int
    text: str


# The text is made where the rows are: 20,000 of them as values would hold every other request up for a twentieth of a second.
LOOKS = """
SELECT count(*) AS servers,
       coalesce(string_agg(CASE WHEN seq = next THEN look ELSE concat('@', seq, ' ', look) END, ' ' ORDER BY seq), '') AS text
FROM (SELECT s.seq, lag(s.seq, 1, -1::bigint) OVER (ORDER BY s.seq) + 1 AS next,
        concat(
          CASE WHEN s.status = 'error' THEN 'e' WHEN s.status = 'deprovisioning' THEN 'l' WHEN s.status <> 'active' THEN 's'
            WHEN s.health_status = 'degraded' THEN 'd' WHEN s.health_status = 'unhealthy' THEN 'u'
            WHEN s.health_status <> 'healthy' THEN 'n' WHEN s.cordoned THEN 'c' ELSE 'h' END,
          s.max_instances, '/', s.max_instances - coalesce(f.free, 0)) AS look
      FROM servers s
      LEFT JOIN (SELECT server_id, count(*) AS free FROM slots WHERE database_id IS NULL GROUP BY server_id) f ON f.server_id = s.id
      WHERE s.status <> 'gone' ORDER BY s.seq LIMIT $1) each"""


async def looks(deps: Deps, most: int) -> Looks:
    """Of so many servers at most, those that were made first."""
    row = await deps.db.row(LOOKS, most)
    return Looks(**dict(row)) if row else Looks(0, "")


AT = "SELECT id FROM servers WHERE seq = $1"


async def at(deps: Deps, seq: int) -> ServerId:
    """ServerNotFound where there is none."""
    row = await deps.db.row(AT, seq)
    if row is None:
        raise ServerNotFound(seq)
    return ServerId(row["id"])


@dataclass(frozen=True, slots=True)
class Concern:
    """A server or an operation that a person should look at."""

    kind: str
    """`server` or `operation`."""
    id: str
    name: str
    state: str
    since: datetime
    told: str | None


CONCERNS = """
(SELECT 'server' AS kind, id::text, name, CASE WHEN status = 'error' THEN status ELSE health_status END AS state,
        status_since AS since, coalesce(health_message, last_error) AS told
 FROM servers WHERE status = 'error' OR status = 'active' AND health_status IN ('degraded', 'unhealthy')
 ORDER BY status_since DESC LIMIT $1)
UNION ALL
(SELECT 'operation', id::text, kind, state, state_since, last_error FROM operations
 WHERE state = 'failed' AND state_since > $2 ORDER BY state_since DESC LIMIT $1)"""


async def concerns(deps: Deps, since: datetime, most: int = 20) -> Sequence[Concern]:
    """Servers that are ill now and operations that failed since then, the newest of each kind first."""
    async with deps.db.reading() as conn:
        return [Concern(**dict(row)) for row in await conn.fetch(CONCERNS, most, since)]


@dataclass(frozen=True, slots=True)
class Hour:
    """How many databases were claimed in the hour that began at `at`."""

    at: datetime
    claims: int


CLAIMS_BY_HOUR = """
SELECT hour AS at, coalesce(claims, 0) AS claims
FROM generate_series(date_trunc('hour', $1::timestamptz), $2::timestamptz, interval '1 hour') hour
LEFT JOIN (SELECT date_trunc('hour', claimed_at) AS at, count(*) AS claims FROM databases
           WHERE claimed_at >= date_trunc('hour', $1::timestamptz) GROUP BY 1) counted ON counted.at = hour
ORDER BY hour"""


async def claims_by_hour(deps: Deps, since: datetime) -> Sequence[Hour]:
    """One for each hour, also for those in which none was claimed."""
    async with deps.db.reading() as conn:
        return [Hour(**dict(row)) for row in await conn.fetch(CLAIMS_BY_HOUR, since, deps.now())]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long answers to `POST /allocate` took, in ms. None where there were none."""

    answers: int
    p50: float | None
    p99: float | None


PACE = """
SELECT count(*) AS answers, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS p50,
       percentile_cont(0.99) WITHIN GROUP (ORDER BY ms) AS p99
FROM (SELECT ms FROM requests WHERE endpoint = '/api/database/allocate' AND at >= $1 AND status < 400
      ORDER BY at DESC LIMIT 10000) newest"""


async def allocate_pace(deps: Deps, since: datetime) -> Pace:
    """Of the newest 10,000 at most, by the request log."""
    row = await deps.db.row(PACE, since)
    return Pace(**dict(row)) if row else Pace(0, None, None)
