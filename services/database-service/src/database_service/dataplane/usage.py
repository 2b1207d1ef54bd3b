"""What databases use of their server, in one statement that stays short however many there are."""

from collections.abc import Sequence
from datetime import timedelta

import asyncpg

from database_service.dataplane.connect import Session
from database_service.domain.usage import Asked, Counters, Sample

MOST_SIZES = 200
"""A size is a look at some 300 files, 0.3 ms: so many are taken at once, those that were taken longest ago first."""

_SAMPLE = """
WITH asked AS (
    SELECT * FROM unnest($1::text[], $2::int8[], $3::float8[]) AS asked (name, written, sized_s_ago)
), inside AS MATERIALIZED (
    SELECT datid, count(*)::int AS connections,
           extract(epoch FROM clock_timestamp() - min(xact_start))::float8 AS oldest_transaction_s
    FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY datid
), counted AS MATERIALIZED (
    SELECT d.oid, asked.name, asked.sized_s_ago, coalesce(inside.connections, 0) AS connections, oldest_transaction_s,
           tup_inserted + tup_updated + tup_deleted AS written_now,
           asked.written IS DISTINCT FROM tup_inserted + tup_updated + tup_deleted AS was_written,
           xact_commit + xact_rollback AS transactions, blks_read + blks_hit AS blocks, temp_bytes,
           (active_time / 1000)::float8 AS busy_s
    FROM asked JOIN pg_database d ON d.datname::text = asked.name JOIN pg_stat_database s ON s.datid = d.oid
    LEFT JOIN inside ON inside.datid = d.oid
), due AS MATERIALIZED (
    SELECT oid FROM counted
    WHERE was_written OR oldest_transaction_s IS NOT NULL OR sized_s_ago IS NULL OR sized_s_ago >= $4
    ORDER BY sized_s_ago DESC NULLS FIRST LIMIT $5
)
SELECT name, connections, oldest_transaction_s, written_now, transactions, blocks, temp_bytes, busy_s,
       CASE WHEN due.oid IS NOT NULL THEN pg_database_size(due.oid) END AS size_bytes
FROM counted LEFT JOIN due USING (oid)
"""
"""Counters of a transaction are told when it ends, so one that is at work is measured whatever they say."""


async def sample(session: Session, asked: Sequence[Asked], size_interval: timedelta) -> Sequence[Sample]:
    """See Tenants.usage."""
    rows = await session.rows(
        _SAMPLE,
        [each.name for each in asked],
        [each.written for each in asked],
        [each.sized_s_ago for each in asked],
        size_interval.total_seconds(),
        MOST_SIZES,
    )
    return [_sample(row) for row in rows]


def _sample(row: asyncpg.Record) -> Sample:
    return Sample(
        name=row["name"],
        size_bytes=row["size_bytes"],
        written=row["written_now"],
        connections=row["connections"],
        oldest_transaction_s=row["oldest_transaction_s"],
        counters=Counters(row["transactions"], row["blocks"], row["temp_bytes"], row["busy_s"]),
    )
