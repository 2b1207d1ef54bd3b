"""What databases use of their servers, as the doors show it: of one, of the noisiest, of all together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from database_service.deps import Deps
from database_service.domain.ids import ServerId
from database_service.domain.neighbours import Neighbour, Ranked, Whole, rank
from database_service.domain.plans import Tier
from database_service.domain.usage import Level, Rates, Stop

RECENT = timedelta(minutes=10)
"""Who was not sampled for so long is not among the neighbours: its server does not answer, or it is elsewhere."""


@dataclass(frozen=True, slots=True)
class UsageView:
    """The last sample of one database. Rates are for each second since the one before, and None until there are two."""

    sampled_at: datetime
    connections: int
    oldest_transaction_s: float | None
    transactions_per_s: float | None
    blocks_per_s: float | None
    temp_bytes_per_s: float | None
    busy: float | None
    size_bytes: int | None
    sized_at: datetime | None
    level: str
    level_since: datetime | None


ONE = """u.sampled_at, u.connections, u.oldest_transaction_s, u.transactions_per_s, u.blocks_per_s, u.temp_bytes_per_s, u.busy,
 u.size_bytes, u.sized_at, u.level, u.level_since"""
"""Of the row `u`, in the order of a `UsageView`."""

# The loudest of each measure, and no more, are ranked: sorting all of a large fleet by all of them would be for nothing.
LOUDEST = """
WITH seated AS MATERIALIZED (
  SELECT u.*, d.instance_id, d.customer_id, d.plan_tier, d.stop_wanted, s.name AS server_name, s.cpu_limit, s.facts
  FROM usage u JOIN databases d ON d.id = u.database_id AND d.server_id = u.server_id JOIN servers s ON s.id = u.server_id
  WHERE d.status = 'ready' AND s.server_type = 'shared' AND ($1::uuid IS NULL OR s.id = $1) AND u.sampled_at >= $2
), loud AS (
  (SELECT database_id FROM seated ORDER BY connections DESC, database_id LIMIT $3)
  UNION (SELECT database_id FROM seated ORDER BY busy DESC NULLS LAST, database_id LIMIT $3)
  UNION (SELECT database_id FROM seated ORDER BY blocks_per_s DESC NULLS LAST, database_id LIMIT $3)
  UNION (SELECT database_id FROM seated ORDER BY temp_bytes_per_s DESC NULLS LAST, database_id LIMIT $3)
  UNION (SELECT database_id FROM seated ORDER BY size_bytes DESC NULLS LAST, database_id LIMIT $3)
), whole AS (
  SELECT server_id, sum(connections)::bigint AS all_connections, coalesce(sum(blocks_per_s), 0) AS all_blocks,
         coalesce(sum(temp_bytes_per_s), 0) AS all_temp, coalesce(sum(size_bytes), 0)::bigint AS all_bytes
  FROM seated GROUP BY server_id
)
SELECT * FROM loud JOIN seated USING (database_id) JOIN whole USING (server_id)"""

# By the few that are not in use, which have an index: to look each one up among all databases takes twenty times as long.
NOT_OK = """
SELECT u.level, count(*) AS databases FROM usage u
WHERE u.level <> 'ok' AND NOT EXISTS (SELECT FROM databases d WHERE d.id = u.database_id AND d.status <> 'ready')
GROUP BY u.level"""


async def noisiest(deps: Deps, *, server_id: ServerId | None = None, limit: int = 20) -> Sequence[Ranked]:
    """Databases on shared servers, or on this one, that take the greatest shares of theirs, the noisiest first."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(LOUDEST, server_id, deps.now() - RECENT, limit)
    return rank([_neighbour(row) for row in rows])[:limit]


async def count_by_level(deps: Deps) -> Mapping[str, int]:
    """How many databases in use are nearly or entirely full; each level is named, also with none."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(NOT_OK)
    return {level.value: 0 for level in Level if level is not Level.OK} | {
        row["level"]: row["databases"] for row in rows
    }


def _neighbour(row: asyncpg.Record) -> Neighbour:
    return Neighbour(
        instance_id=row["instance_id"],
        customer_id=row["customer_id"],
        tier=Tier(row["plan_tier"]),
        server_id=row["server_id"],
        server_name=row["server_name"],
        level=Level(row["level"]),
        stop=Stop(row["stop_wanted"]),
        connections=row["connections"],
        oldest_transaction_s=row["oldest_transaction_s"],
        rates=Rates(
            row["transactions_per_s"] or 0.0,
            row["blocks_per_s"] or 0.0,
            row["temp_bytes_per_s"] or 0.0,
            row["busy"] or 0.0,
        ),
        size_bytes=row["size_bytes"] or 0,
        whole=_whole(row),
    )


def _whole(row: asyncpg.Record) -> Whole:
    """A server that was never asked how many sessions it takes is taken to have no more than there are."""
    told = row["facts"].get("connections_max")
    return Whole(
        connections=told if isinstance(told, int) else row["all_connections"],
        cpus=row["cpu_limit"],
        blocks=row["all_blocks"],
        temp_bytes=row["all_temp"],
        size_bytes=row["all_bytes"],
    )
