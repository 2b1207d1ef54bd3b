"""Ending sessions: a door that is shut leaves those inside who were there before."""

from collections.abc import Sequence

from database_service.dataplane.connect import Session
from database_service.domain.errors import TenantServerUnavailable

ROUNDS = 20
WAIT_MS = 250

_END = """
WITH doomed AS MATERIALIZED (
    SELECT pid FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker'
      AND (datname::text = ANY ($1::text[]) OR usename::text = ANY ($2::text[]))
), told AS MATERIALIZED (SELECT pid, pg_terminate_backend(pid) FROM doomed)
SELECT pg_terminate_backend(pid, $3) FROM told ORDER BY pid
"""
"""All are told first, then each is waited for, so that many end at once."""


async def end_sessions(session: Session, names: Sequence[str], logins: Sequence[str]) -> None:
    """End the sessions in these databases or of these logins until none is left, or TenantServerUnavailable."""
    for _ in range(ROUNDS):
        if not await session.ending(_END, names, logins, WAIT_MS):
            return
    raise TenantServerUnavailable("Sessions on the tenant server do not end.")
