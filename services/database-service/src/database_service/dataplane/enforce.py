"""Time limits also for who switched them off: a session may SET its own timeouts, so somebody looks from outside."""

from collections.abc import Mapping, Sequence

import asyncpg

from database_service.dataplane.connect import Session
from database_service.domain.plans import Limits
from database_service.domain.tenancy import Overrun

GRACE_S = 1.0
"""The server itself cancels at the limit, which ends the statement and not the session: it goes first."""

_END_OVERRUNS = """
WITH plan AS (SELECT * FROM unnest($1::text[], $2::float8[], $3::float8[]) AS plan (role, statement_s, idle_s)),
looked_at AS MATERIALIZED (
    SELECT pid, role, datname::text AS database, state = 'active' AS running,
           extract(epoch FROM clock_timestamp()
                   - CASE state WHEN 'active' THEN query_start ELSE state_change END)::float8 AS s,
           CASE state WHEN 'active' THEN statement_s ELSE idle_s END AS limit_s
    FROM pg_stat_activity JOIN plan ON usename::text = role
    WHERE backend_type = 'client backend'
      AND state IN ('active', 'idle in transaction', 'idle in transaction (aborted)')
),
overrun AS MATERIALIZED (SELECT * FROM looked_at WHERE s > limit_s + $4)
SELECT role, database, running, s, limit_s, pg_terminate_backend(pid) FROM overrun
"""
"""Ending stands in no WHERE: the planner is free to ask the cheapest condition first, and would end everybody."""


async def end_overruns(session: Session, limits: Mapping[str, Limits]) -> Sequence[Overrun]:
    """See Tenants.enforce. The keys are login roles: what a session logged in as, whatever it SET since."""
    if not limits:
        return ()
    statement_s = [each.statement_timeout.total_seconds() for each in limits.values()]
    idle_s = [each.idle_in_transaction_timeout.total_seconds() for each in limits.values()]
    rows = await session.ending(_END_OVERRUNS, list(limits), statement_s, idle_s, GRACE_S)
    return [_overrun(row) for row in rows]


def _overrun(row: asyncpg.Record) -> Overrun:
    what = "a statement ran" if row["running"] else "a transaction was idle"
    why = f"{what} for {row['s']:.0f} s; the plan allows {row['limit_s']:.0f} s"
    return Overrun(role=row["role"], database=row["database"], why=why, seconds=row["s"])
