"""Is it well? A login of its own that reads, writes a little, and brings back facts."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from datetime import timedelta

import asyncpg

from database_service.dataplane import sqlstates
from database_service.dataplane.connect import DRIVER_ERRORS, Patience, connect, farewell
from database_service.domain.servers import Probe
from database_service.domain.tenancy import Admin

SETTINGS = (
    "max_connections", "superuser_reserved_connections", "shared_buffers", "effective_cache_size", "work_mem",
    "maintenance_work_mem", "max_wal_size", "max_worker_processes", "max_parallel_workers", "max_locks_per_transaction",
    "autovacuum_max_workers",
)  # fmt: skip
"""Those that follow from a server's size."""

_FACTS = """
WITH mode AS MATERIALIZED (SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS read_only)
SELECT read_only,
       CASE WHEN NOT read_only THEN pg_logical_emit_message(true, 'dbs', 'probe')::text END AS written,
       current_setting('server_version') AS version,
       pg_is_in_recovery() AS in_recovery,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS connections_used,
       current_setting('max_connections')::int AS connections_max,
       (SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())::float8 AS oldest_transaction_s,
       (SELECT count(*) FROM pg_database WHERE NOT datistemplate)::int AS databases,
       extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS uptime_s,
       to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS started_at,
       (SELECT jsonb_object_agg(name, current_setting(name)) FROM pg_settings WHERE name = ANY ($1::text[]))::text AS settings
FROM mode
"""
"""The message is transactional: it is a real commit that WAL must take, and it leaves nothing to clean up."""


async def probe(admin: Admin, timeout: timedelta) -> Probe:
    """See Tenants.probe. `timeout` is for the login and for the query together.

    Facts: connections_used, connections_max, oldest_transaction_s, databases, in_recovery, uptime_s, started_at by
    the server's own clock, and the settings in force. Sizes are not among them: they cost a look at every file.
    """
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            row = await _ask(admin, Patience(connect=timeout, statement=timeout))
    except DRIVER_ERRORS as e:
        why = f"The server at {admin.host}:{admin.port} {sqlstates.in_words(e)}."
        return Probe(ok=False, why=why, untrusted=isinstance(e, ssl.SSLCertVerificationError))
    return _told(admin, row)


async def _ask(admin: Admin, patience: Patience) -> asyncpg.Record:
    conn = await connect(admin, patience)
    try:
        rows = await conn.fetch(_FACTS, SETTINGS)
    finally:
        await farewell(conn)
    return rows[0]


def _told(admin: Admin, row: asyncpg.Record) -> Probe:
    why = f"The server at {admin.host}:{admin.port} is read only." if row["read_only"] else ""
    return Probe(ok=not why, why=why, postgres_version=short_version(row["version"]), facts=_facts(row))


def _facts(row: asyncpg.Record) -> Mapping[str, object]:
    return {
        "connections_used": row["connections_used"],
        "connections_max": row["connections_max"],
        "oldest_transaction_s": round(row["oldest_transaction_s"], 1),
        "databases": row["databases"],
        "in_recovery": row["in_recovery"],
        "uptime_s": round(row["uptime_s"], 1),
        "started_at": row["started_at"],
        "settings": json.loads(row["settings"]),
    }


def short_version(server_version: str) -> str:
    """`18.6` of `18.6 (Debian 18.6-1.pgdg13+1)`."""
    return server_version.split(" ", 1)[0]
