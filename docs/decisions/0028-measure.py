"""What history costs: bytes for each database and server, and time for each look at a server; the figures of ADR 0028.

$ python docs/decisions/0028-measure.py --servers 400
"""
# ruff: noqa: T201, E501  a tool that is run by hand, outside the service

import argparse
import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.system import System, running

from bench import rows
from database_service.domain.policy import Policy
from database_service.domain.usage import Counters, Rates, Usage
from database_service.reconcilers.history import remember
from database_service.store import usage

PER_SERVER, DAYS, HOURS = 50, 90, 14 * 24
NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
DEPS: Any = SimpleNamespace(policy=Policy())

USED = """
INSERT INTO usage (database_id, server_id, sampled_at, connections, transactions, blocks, temp_bytes, busy_s, size_bytes, written, sized_at)
SELECT id, server_id, $1, 3, 1, 1, 1, 1, 8e6 + random() * 1e9, 1, $1 FROM databases"""
PAST_OF_DATABASES = """
INSERT INTO database_history (database_id, last_day, sizes)
SELECT database_id, $1::date - 1, ARRAY(SELECT size_bytes * (0.5 + g / 180.0) FROM generate_series(1, $2::int) g)::real[] FROM usage"""
PAST_OF_SERVERS = """
INSERT INTO server_history (server_id, hours, at, databases, slots, connections, size_bytes)
SELECT id, hours, date_trunc(CASE hours WHEN 1 THEN 'hour' ELSE 'day' END, $1::timestamptz) - g * hours * interval '1 hour',
  50, 50, 150, 25e9 - g FROM servers, (VALUES (1, $2::int), (24, $3::int)) kept (hours, most), generate_series(1, most) g"""
A_ROW_A_DAY = """
CREATE TABLE a_row_a_day (database_id uuid, day date, size_bytes bigint, PRIMARY KEY (database_id, day))"""
FILL_IT = (
    "INSERT INTO a_row_a_day SELECT database_id, $1::date - g, size_bytes FROM usage, generate_series(1, $2::int) g"
)


async def main(system: System, servers: int) -> None:
    conn = await asyncpg.connect(
        await rows.control_database(system.control(), "history"), server_settings={"jit": "off"}
    )
    made = [row[0] for row in await rows.add_servers(conn, system.box, servers, slots=PER_SERVER)]
    number = servers * PER_SERVER
    await rows.add_tenants(conn, number, PER_SERVER)
    await conn.execute(USED, NOW)
    await conn.execute("VACUUM ANALYZE")
    begun = time.perf_counter()
    await conn.execute(PAST_OF_DATABASES, NOW.date(), DAYS)
    await conn.execute(PAST_OF_SERVERS, NOW, HOURS, DAYS)
    await conn.execute(A_ROW_A_DAY)
    await conn.execute(FILL_IT, NOW.date(), DAYS)
    await conn.execute("VACUUM ANALYZE")
    print(f"{servers} servers, {number} databases, {DAYS} days; filled in {time.perf_counter() - begun:.0f} s")
    for table, many in (
        ("usage", number),
        ("database_history", number),
        ("a_row_a_day", number),
        ("server_history", servers),
    ):
        print(f"{table}: {await size(conn, table) / many:,.0f} B for each")
    for what, now in (
        ("first look of the day", NOW),
        ("nothing new", NOW),
        ("first look of an hour", NOW + timedelta(hours=1)),
    ):
        kept, remembered = await looks(conn, made, now)
        print(f"{what}: usage.keep {kept:.2f} ms, history {remembered:.2f} ms for each server (median)")
    await conn.execute("VACUUM ANALYZE")
    print(f"database_history after a day was written: {await size(conn, 'database_history') / number:,.0f} B for each")
    await conn.close()


async def size(conn: Any, table: str) -> int:
    found: int = await conn.fetchval("SELECT pg_total_relation_size($1::text::regclass)", table)
    return found


async def looks(conn: Any, servers: list[Any], now: datetime) -> tuple[float, float]:
    """Milliseconds of what a sample wrote before there was history, and of history."""
    kept, remembered = [], []
    for server_id in servers:
        seen = [
            _used(row["id"], server_id, now)
            for row in await conn.fetch("SELECT id FROM databases WHERE server_id = $1 ORDER BY id", server_id)
        ]
        async with conn.transaction():
            begun = time.perf_counter()
            await usage.keep(conn, seen)
            between = time.perf_counter()
            await remember(conn, DEPS, SimpleNamespace(id=server_id, max_instances=PER_SERVER), now)  # type: ignore[arg-type]
            ended = time.perf_counter()
        kept.append(between - begun)
        remembered.append(ended - between)
    return 1000 * median(kept), 1000 * median(remembered)


def _used(database_id: Any, server_id: Any, now: datetime) -> Usage:
    return Usage(database_id, server_id, now, 3, None, Counters(1, 1, 1, 1.0), Rates(1, 1, 1, 1), 10**8, 1, now)


if __name__ == "__main__":
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--servers", type=int, default=400)
    with running() as system:
        asyncio.run(main(system, given.parse_args().servers))
