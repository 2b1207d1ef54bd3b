"""The fence: nobody writes any more, and everything that was acknowledged is there to be read."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from database_service.dataplane import databases, ddl
from database_service.dataplane.connect import Session
from database_service.domain.errors import MoveBlocked, TenantServerUnavailable
from database_service.domain.tenancy import TenantSpec

LOOK_EVERY_S = 0.05
PATIENCE_S = 5
"""For sessions that were ended to be gone."""

_SEND_HOME = """
WITH inside AS MATERIALIZED (
    SELECT pid, state = 'idle' AS idle FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND (datname::text = $1 OR usename::text = ANY ($2::text[]))
    UNION ALL
    SELECT pid, true FROM pg_locks
    WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND mode = 'RowExclusiveLock' AND granted
      AND objid = (SELECT oid FROM pg_database WHERE datname::text = $1)
)
SELECT pid, CASE WHEN idle OR $3 THEN pg_terminate_backend(pid) END FROM inside
"""
"""Who is in; also who is past the check whether it may log in, and not yet seen among the sessions: that one holds a lock."""

_PREPARED = "SELECT count(*) AS prepared FROM pg_prepared_xacts WHERE database::text = $1"

_OTHERS = """
SELECT role.rolname::text AS role, EXISTS (
           SELECT FROM pg_database, aclexplode(datacl) AS acl
           WHERE datname::text = $1 AND acl.grantee = 0 AND privilege_type = 'CONNECT') AS as_anybody
FROM pg_authid role
WHERE role.rolcanlogin AND NOT role.rolsuper AND role.rolname::text <> ALL ($2::text[])
  AND shobj_description(role.oid, 'pg_authid') IS DISTINCT FROM $3
  AND has_database_privilege(role.oid, (SELECT oid FROM pg_database WHERE datname::text = $1), 'CONNECT')
ORDER BY role
"""


async def fence(session: Session, tenant: TenantSpec, drain: timedelta) -> str:
    """See Transfers.fence. Gives the name of the database on its server."""
    standing = await databases.look(session, tenant)
    name, logins = standing.require_database(tenant), sorted(standing.logins)
    await session.run(ddl.joined((*map(ddl.close_login, logins), ddl.close_database(name))))
    await _emptied(session, name, logins, drain)
    if blockers := [*await others(session, name, ()), *await prepared(session, name)]:
        raise MoveBlocked(blockers)
    await session.run(ddl.unlimit_database(name))
    return name


async def _emptied(session: Session, name: str, logins: Sequence[str], drain: timedelta) -> None:
    """Until nobody is in. Who is idle goes at once, and who is not when the time is up."""
    clock = asyncio.get_running_loop().time
    began, patience = clock(), drain.total_seconds()
    while await session.ending(_SEND_HOME, name, logins, clock() >= began + patience):
        if clock() > began + patience + PATIENCE_S:
            raise TenantServerUnavailable("Sessions on the tenant server do not end.")
        await asyncio.sleep(LOOK_EVERY_S)  # noqa: TID251  the server tells nobody that a transaction is over


async def others(session: Session, name: str, known: Sequence[str]) -> Sequence[str]:
    """Sentences about who else may log in to this database; superusers and our movers aside."""
    rows = await session.rows(_OTHERS, name, list(known), ddl.MOVER_MARK)
    if rows and rows[0]["as_anybody"]:
        return [f'Every role of the server may connect to it; say: REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC.']
    return [
        f"The role {row['role']!r} is not of this database and may connect to it; "
        f"revoke its CONNECT, or its membership in the database's roles."
        for row in rows
    ]


async def prepared(session: Session, name: str) -> Sequence[str]:
    count = (await session.row(_PREPARED, name))["prepared"]
    if not count:
        return ()
    return [f"{count} prepared transaction(s) are neither committed nor rolled back; do one of both with each."]
