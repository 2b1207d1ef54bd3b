"""Rows of `usage`: the last sample of each database in use, and how it stands with the storage of its plan."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from database_service.domain.ids import DatabaseId, ServerId
from database_service.domain.plans import Tier
from database_service.domain.usage import Standing, Usage
from database_service.store.pool import Conn
from database_service.store.rows import USAGE, standing_of, usage_of


@dataclass(frozen=True, slots=True)
class InUse:
    """A database in use, by the name it has on its server, with its last sample; None before the first."""

    id: DatabaseId
    name: str
    tier: Tier
    usage: Usage | None
    standing: Standing


ON_SERVER = f"""
SELECT d.id, d.physical_name, d.plan_tier, d.stop_wanted, {USAGE}
FROM databases d LEFT JOIN usage u ON u.database_id = d.id
WHERE d.server_id = $1 AND d.status = 'ready' ORDER BY d.id"""


async def on_server(conn: Conn, server_id: ServerId) -> Sequence[InUse]:
    return [
        InUse(
            id=row["id"],
            name=row["physical_name"],
            tier=Tier(row["plan_tier"]),
            usage=usage_of(row) if row["sampled_at"] else None,
            standing=standing_of(row, Tier(row["plan_tier"])) if row["level"] else Standing(Tier(row["plan_tier"])),
        )
        for row in await conn.fetch(ON_SERVER, server_id)
    ]


KEEP = """
INSERT INTO usage (database_id, server_id, sampled_at, connections, oldest_transaction_s, transactions, blocks, temp_bytes, busy_s,
  transactions_per_s, blocks_per_s, temp_bytes_per_s, busy, size_bytes, written, sized_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (database_id) DO UPDATE SET server_id = $2, sampled_at = $3, connections = $4, oldest_transaction_s = $5,
  transactions = $6, blocks = $7, temp_bytes = $8, busy_s = $9, transactions_per_s = $10, blocks_per_s = $11,
  temp_bytes_per_s = $12, busy = $13, size_bytes = $14, written = $15, sized_at = $16"""


async def keep(conn: Conn, usages: Iterable[Usage]) -> None:
    """As they are now; how they stand is `stand`'s to write."""
    await conn.executemany(KEEP, [_arguments(usage) for usage in usages])


def _arguments(usage: Usage) -> tuple[object, ...]:
    """As KEEP numbers them."""
    counted, rates = usage.counters, usage.rates
    return (
        usage.database_id, usage.server_id, usage.sampled_at, usage.connections, usage.oldest_transaction_s,
        counted.transactions, counted.blocks, counted.temp_bytes, counted.busy_s,
        *((rates.transactions, rates.blocks, rates.temp_bytes, rates.busy) if rates else (None, None, None, None)),
        usage.size_bytes, usage.written, usage.sized_at,
    )  # fmt: skip


OF = f"""
SELECT {USAGE}, d.stop_wanted FROM usage u JOIN databases d ON d.id = u.database_id WHERE u.database_id = $1
FOR NO KEY UPDATE OF d"""


async def standing(conn: Conn, database_id: DatabaseId, tier: Tier) -> tuple[Standing, int | None]:
    """How it stood when it was last judged, and its size; of one that was never sampled: well, and None.

    The database's row is locked, always before that of its usage."""
    row = await conn.fetchrow(OF, database_id)
    return (standing_of(row, tier), row["size_bytes"]) if row else (Standing(tier), None)


STAND = """
UPDATE usage SET tier = $2, level = $3, stopped_bytes = $4, level_since = CASE WHEN level = $3 THEN level_since ELSE $5 END
WHERE database_id = $1"""


async def stand(conn: Conn, database_id: DatabaseId, standing: Standing, now: datetime) -> None:
    """For a database that is locked."""
    await conn.execute(STAND, database_id, standing.tier, standing.level, standing.stopped_bytes, now)


FORGET = "DELETE FROM usage WHERE database_id = $1"


async def forget(conn: Conn, database_id: DatabaseId) -> None:
    """It uses nothing any more."""
    await conn.execute(FORGET, database_id)
