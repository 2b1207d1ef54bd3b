"""Limits also for who switched them off, and for what PostgreSQL has no limit for: somebody looks from outside."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import asyncpg

from database_service.dataplane.connect import Session
from database_service.domain.plans import Limits
from database_service.domain.tenancy import Overrun
from database_service.domain.wording import size

GRACE_S = 1.0
"""The server itself cancels at the limit, which ends the statement and not the session: it goes first."""

LOCKS_SHARE = 0.25
"""One database may hold so much of the server's table of locks."""

QUEUE_SHARE = 0.5
"""Above this, the transaction that keeps the queue of notifications from being cleared is ended."""

_END_OVERRUNS = """
WITH plan AS (
    SELECT * FROM unnest($1::text[], $2::float8[], $3::float8[], $4::float8[])
             AS plan (role, statement_s, idle_s, transaction_s)
),
looked_at AS MATERIALIZED (
    SELECT pid, role, datname::text AS database, what, limit_s,
           extract(epoch FROM clock_timestamp() - since)::float8 AS s
    FROM pg_stat_activity JOIN plan ON usename::text = role
    CROSS JOIN LATERAL (VALUES
        ('a statement ran', statement_s,
         CASE state WHEN 'active' THEN query_start WHEN 'fastpath function call' THEN state_change END),
        ('a transaction was idle', idle_s,
         CASE WHEN state IN ('idle in transaction', 'idle in transaction (aborted)') THEN state_change END),
        ('a transaction was open', transaction_s, xact_start)
    ) AS times (what, limit_s, since)
    WHERE backend_type = 'client backend' AND state <> 'idle'
),
overrun AS MATERIALIZED (
    SELECT DISTINCT ON (pid) * FROM looked_at WHERE s > limit_s + $5 ORDER BY pid, s - limit_s DESC
)
SELECT role, database, what, s, limit_s, pg_terminate_backend(pid) FROM overrun
"""
"""Ending stands in no WHERE: the planner is free to ask the cheapest condition first, and would end everybody. A function may be
called without a statement (PostgreSQL manual, 54.2.5), which has no start but that of its state."""

_END_HOGS = r"""
WITH plan AS MATERIALIZED (
    SELECT pg_get_userbyid(oid)::text AS role, temp_most
    FROM unnest($1::text[], $2::int8[]) AS asked (name, temp_most) JOIN pg_authid ON rolname::text = asked.name
),
sessions AS MATERIALIZED (
    SELECT pid, coalesce(leader_pid, pid) AS leader, datid, role, datname::text AS database, xact_start, temp_most,
           extract(epoch FROM clock_timestamp() - query_start)::float8 AS s
    FROM pg_stat_activity JOIN plan ON usename::text = role WHERE backend_type IN ('client backend', 'parallel worker')
),
files AS MATERIALIZED (
    SELECT substring(name FROM '^pgsql_tmp([0-9]+)\.')::int AS pid, sum(size) AS used FROM pg_ls_tmpdir() GROUP BY 1
),
locks AS MATERIALIZED (SELECT pid, count(*) AS used FROM pg_locks WHERE granted AND NOT fastpath GROUP BY pid),
locks_most AS (
    SELECT floor($3::float8 * current_setting('max_locks_per_transaction')::int8
           * (current_setting('max_connections')::int8 + current_setting('max_prepared_transactions')::int8))::int8 AS most
),
taken AS (
    SELECT leader AS pid, 'files' AS what, sum(used)::int8 AS used, max(temp_most) AS most
    FROM files JOIN sessions USING (pid) GROUP BY leader
    UNION ALL
    SELECT leader, 'locks', sum(used)::int8, max(most) FROM locks JOIN sessions USING (pid) CROSS JOIN locks_most GROUP BY leader
),
added AS (
    SELECT pid, what, most, sum(used) OVER (PARTITION BY datid, what ORDER BY used, pid)::int8 AS together
    FROM taken JOIN sessions USING (pid)
),
holder AS (
    SELECT pid FROM sessions WHERE xact_start IS NOT NULL AND pg_notification_queue_usage() > $4 ORDER BY xact_start LIMIT 1
),
doomed AS MATERIALIZED (
    SELECT pid, what, together, most FROM added WHERE together > most
    UNION ALL
    SELECT pid, 'queue', 0, 0 FROM holder
)
SELECT role, database, s, what, together, most, pg_terminate_backend(pid) FROM doomed JOIN sessions USING (pid)
"""
"""Of a database that has too much, those go that have most of it, until the rest fits. Ending stands in no WHERE, as above.

pg_get_userbyid has this session remember each role: ending one in a storm (_END_STORM) costs none of the room then."""

ROOM, PIECE = 128, 32
"""Places in the table of locks that a session which looks keeps for the moment in which there are no others; and how many of them
it gives back at once, so that it can try again where somebody else took them."""

_KEEP_ROOM = """
SELECT count(pg_try_advisory_lock(pg_backend_pid(), n)) FROM generate_series(1, $1::int) AS n
WHERE n NOT IN (SELECT objid::int8 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
"""

_END_STORM = """
WITH locks_most AS (
    SELECT floor($1::float8 * current_setting('max_locks_per_transaction')::int8 * current_setting('max_connections')::int8)::int8
           AS most
),
held AS MATERIALIZED (SELECT pid, count(*) AS used FROM pg_lock_status() WHERE NOT fastpath GROUP BY pid),
added AS (
    SELECT pid, sum(used) OVER (PARTITION BY datid ORDER BY used, pid)::int8 AS together, most, usesysid, datid,
           extract(epoch FROM clock_timestamp() - query_start)::float8 AS s
    FROM held JOIN pg_stat_get_activity(NULL) AS activity USING (pid) CROSS JOIN locks_most
),
doomed AS MATERIALIZED (SELECT * FROM added WHERE together > most)
SELECT CASE WHEN (SELECT count(pg_advisory_unlock(pg_backend_pid(), n)) FROM generate_series($2::int, $3::int) AS n) > 0
            THEN pg_terminate_backend(pid) END,
       pg_get_userbyid(usesysid)::text AS role, datid::text AS database, s, 'locks' AS what, together, most
FROM doomed
"""
"""When the table of locks is full nobody can log in, and whoever reads a catalog that all databases share needs a lock. A session
that was there before and reads none of them finds who filled it. Ending that one takes its role, which is in such a catalog: so
the room that was kept (_KEEP_ROOM) is given back at the last moment, in the same row, and those who fill the table do not come in
between. A database is told by its number."""


async def end_overruns(session: Session, limits: Mapping[str, Limits]) -> Sequence[Overrun]:
    """See Tenants.enforce. The keys are login roles: what a session logged in as, whatever it SET since."""
    if not limits:
        return ()
    roles, plans = list(limits), list(limits.values())
    statement_s = [each.statement_timeout.total_seconds() for each in plans]
    idle_s = [each.idle_in_transaction_timeout.total_seconds() for each in plans]
    transaction_s = [each.transaction_timeout.total_seconds() for each in plans]
    temp_bytes = [each.temp_file_bytes for each in plans]
    late: Sequence[asyncpg.Record] = ()
    try:
        late = await session.ending(_END_OVERRUNS, roles, statement_s, idle_s, transaction_s, GRACE_S)
        hogs = await session.ending(_END_HOGS, roles, temp_bytes, LOCKS_SHARE, QUEUE_SHARE)
    except asyncpg.OutOfMemoryError:
        hogs = await _end_storm(session)
        if not (late or hogs):
            raise
    await _keep_room(session)
    return [*map(_late, late), *map(_hog, hogs)]


async def _keep_room(session: Session) -> None:
    """As far as there is any."""
    with suppress(asyncpg.OutOfMemoryError):
        await session.rows(_KEEP_ROOM, ROOM)


async def _end_storm(session: Session) -> Sequence[asyncpg.Record]:
    """Nobody where no database has too much, or all the room that was kept was taken by others."""
    for first in range(1, ROOM, PIECE):
        with suppress(asyncpg.OutOfMemoryError):
            return await session.ending(_END_STORM, LOCKS_SHARE, first, first + PIECE - 1)
    return ()


def _late(row: asyncpg.Record) -> Overrun:
    why = f"{row['what']} for {row['s']:.0f} s; the plan allows {row['limit_s']:.0f} s"
    return Overrun(role=row["role"], database=row["database"], why=why, seconds=row["s"])


def _hog(row: asyncpg.Record) -> Overrun:
    return Overrun(role=row["role"], database=row["database"], why=_why(row), seconds=row["s"])


def _why(row: asyncpg.Record) -> str:
    match row["what"]:
        case "files":
            together, most = size(row["together"]), size(row["most"])
            return f"its database had {together} of temporary files at once; the plan allows {most}"
        case "locks":
            return f"its database held {row['together']} locks at once; the server has room for {row['most']} of each"
        case _:
            return "it was the oldest transaction while the server's queue of notifications was filling up"
