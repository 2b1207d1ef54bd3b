"""Stopping a database that is too large: nothing new comes in, and reading, deleting and cleaning go on.

A trigger on each table refuses rows, an event trigger refuses objects. Their functions lie in `pg_catalog`, where no tenant can
make anything, so whatever calls them is ours; they are the switch: once they let everything pass, what is left of the
stop may be taken away when there is time. See ADR 0022.
"""

from collections.abc import Callable, Sequence

import asyncpg

from database_service.dataplane import databases, ddl
from database_service.dataplane.connect import AdminSessions, Session
from database_service.dataplane.ddl import Script
from database_service.domain.errors import TenantServerUnavailable
from database_service.domain.tenancy import Admin, TenantSpec
from database_service.domain.usage import Stop
from database_service.domain.wording import size
from database_service.secretbox import random_name_bytes

_THERE = """
SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtname::text = $1) AS on_objects,
       to_regproc('pg_catalog.' || quote_ident($2)) IS NOT NULL AS functions
"""

_UNGUARDED = f"""
SELECT c.oid::int8 AS oid, nspname::text AS schema, c.relname::text AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE c.oid >= {ddl.FIRST_OURS} AND relpersistence <> 't' AND nspname !~ '^pg_'
  AND (relkind IN ('r', 'p') OR relkind = 'v' AND EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgtype & 64 <> 0))
  AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgenabled <> 'D'
                    AND tgfoid = to_regproc('pg_catalog.' || quote_ident($1)))
ORDER BY c.oid
"""
"""Tables, and views that are written to through triggers of their own."""

_GUARDED = """
SELECT tgname::text AS trigger, nspname::text AS schema, c.relname::text AS name
FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE tgfoid = to_regproc('pg_catalog.' || quote_ident($1)) AND tgparentid = 0
ORDER BY c.oid
"""

HOLD_OUT_S = 30.0
"""So old a transaction may be that keeps a stop from a table: an honest one ends, and the next try finds the table free."""

_END_HOLDERS = """
WITH holders AS MATERIALIZED (
    SELECT DISTINCT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'relation' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND relation::int8 = ANY ($1::int8[]) AND granted
      AND mode IN ('RowExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      AND backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND extract(epoch FROM clock_timestamp() - xact_start) > $2::float8
)
SELECT pid, pg_terminate_backend(pid) FROM holders
"""
"""Who writes to one of these tables. VACUUM and ANALYZE, which make room, hold another lock and go on."""

_IN_USE = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
_GONE = (asyncpg.UndefinedTableError, asyncpg.UndefinedObjectError, asyncpg.InvalidSchemaNameError)


async def stop(sessions: AdminSessions, admin: Admin, tenant: TenantSpec, stop: Stop, storage_bytes: int) -> None:
    """See Tenants.stop."""
    async with sessions.on(admin) as session:
        if stop is Stop.DOOR:
            return await databases.close(session, tenant)
        standing = await databases.look(session, tenant)
        name = standing.require_database(tenant)
        await session.run(databases.opened(standing, tenant, name))
    if stop is Stop.WRITES:
        return await _put(sessions, admin, name, size(storage_bytes))
    return await lift(sessions, admin, name)


async def _put(sessions: AdminSessions, admin: Admin, database: str, storage: str) -> None:
    """Objects first: from then on there is no new table that would have to be found."""
    async with sessions.inside(admin, database) as inside:
        there = await inside.row(_THERE, ddl.ON_OBJECTS, ddl.ON_ROWS)
        on_objects = () if there["on_objects"] else (ddl.refuse_objects_from_now_on(),)
        await inside.run(ddl.joined((ddl.refusing(storage), *on_objects)))
        if held := await _each(inside, await inside.rows(_UNGUARDED, ddl.ON_ROWS), _guard):
            await inside.ending(_END_HOLDERS, [table["oid"] for table in held], HOLD_OUT_S)
            _must_be_none(await _each(inside, held, _guard))


async def lift(sessions: AdminSessions, admin: Admin, database: str) -> None:
    """Nothing of a stop is left. Not stopped is success."""
    async with sessions.inside(admin, database) as inside:
        there = await inside.row(_THERE, ddl.ON_OBJECTS, ddl.ON_ROWS)
        if not there["functions"]:
            return
        await inside.run(ddl.allowing())
        _must_be_none(await _each(inside, await inside.rows(_GUARDED, ddl.ON_ROWS), _unguard))
        await inside.run(ddl.forget_refusing())


async def _each(
    inside: Session, tables: Sequence[asyncpg.Record], change: Callable[[asyncpg.Record], Script]
) -> Sequence[asyncpg.Record]:
    """Each in a transaction of its own: whoever writes to several tables never waits for us in a circle. Returns those that
    could not be changed, because somebody uses them."""
    left = []
    for table in tables:
        try:
            await inside.run(change(table))
        except _IN_USE:
            left.append(table)
        except _GONE:  # it was dropped meanwhile, which is what a stop is for
            continue
    return left


def _must_be_none(left: Sequence[asyncpg.Record]) -> None:
    if left:
        raise TenantServerUnavailable(f"{len(left)} table(s) of the database are in use and could not be changed.")


def _guard(table: asyncpg.Record) -> Script:
    """By a name that nobody could have taken before."""
    return ddl.refuse_rows(f"{ddl.ON_ROWS}_{random_name_bytes().hex()}", table["schema"], table["name"])


def _unguard(table: asyncpg.Record) -> Script:
    return ddl.take_rows(table["trigger"], table["schema"], table["name"])
