"""Release closes the door and keeps the data for the plan's grace; undelete opens it again."""

from dataclasses import replace
from datetime import datetime

from database_service.actions.allocate import current_answer
from database_service.deps import Deps
from database_service.domain.answers import Allocation, Pending
from database_service.domain.databases import Database, Status
from database_service.domain.errors import (
    DatabaseGone,
    DatabaseNotFound,
    DatabaseNotReleased,
    DatabaseProtected,
)
from database_service.domain.ids import InstanceId, Who
from database_service.domain.plans import PLANS
from database_service.reconcilers.databases import step_now
from database_service.store import databases, events
from database_service.store.pool import Conn

ENDED = frozenset({Status.RELEASING, Status.RELEASED, Status.PURGED})


async def release(deps: Deps, instance_id: InstanceId, who: Who, *, why: str | None = None) -> Database:
    """Works in every state, and again: no login, no session, data kept until `purge_after`. Raises DatabaseNotFound,
    DatabaseProtected."""
    async with deps.db.transaction() as conn:
        database = await _locked(conn, instance_id)
        if database.status in ENDED:
            return database
        if database.protected:
            raise DatabaseProtected(instance_id)
        wanted = await databases.want(conn, _released(database, deps.now()))
        await _note(conn, deps, database, wanted, who, "released", why)
    if wanted.due_at:
        await step_now(deps, wanted.id)
    return await _now(deps, wanted)


def _released(database: Database, now: datetime) -> Database:
    """One that still waits for a seat holds nothing, and ends at once."""
    if database.status is Status.WAITING:
        return replace(database, status=Status.PURGED, status_since=now, released_at=now, due_at=None)
    grace = PLANS[database.plan_tier].grace
    return replace(
        database, status=Status.RELEASING, status_since=now, released_at=now, purge_after=now + grace, due_at=now
    )


async def undelete(deps: Deps, instance_id: InstanceId, who: Who) -> Allocation | Pending:
    """Take a released database back, with its data and its logins. Raises DatabaseNotFound, DatabaseGone, DatabaseNotReleased."""
    now = deps.now()
    async with deps.db.transaction() as conn:
        database = await _locked(conn, instance_id)
        if database.status is Status.PURGED:
            raise DatabaseGone(instance_id)
        if database.status not in ENDED:
            raise DatabaseNotReleased(instance_id, database.status)
        back = replace(
            database, status=Status.CREATING, status_since=now, released_at=None, purge_after=None, due_at=now
        )
        wanted = await databases.want(conn, back)
        await _note(conn, deps, database, wanted, who, "undeleted", None)
    await step_now(deps, wanted.id)
    return await current_answer(deps, instance_id)


async def protect(deps: Deps, instance_id: InstanceId, protected: bool, who: Who) -> Database:
    """Set or lift the deletion protection; it holds against release, and against the purge of what is released already."""
    now = deps.now()
    async with deps.db.transaction() as conn:
        database = await _locked(conn, instance_id)
        if database.status is Status.PURGED:
            raise DatabaseGone(instance_id)
        wanted = await databases.want(conn, replace(database, protected=protected, due_at=now))
        await _note(conn, deps, database, wanted, who, "protected" if protected else "unprotected", None)
    return wanted


async def _locked(conn: Conn, instance_id: InstanceId) -> Database:
    database = await databases.lock_of_instance(conn, instance_id)
    if database is None:
        raise DatabaseNotFound(instance_id)
    return database


async def _now(deps: Deps, wanted: Database) -> Database:
    async with deps.db.connection() as conn:
        return await databases.get(conn, wanted.id) or wanted


async def _note(
    conn: Conn, deps: Deps, before: Database, after: Database, who: Who, action: str, why: str | None
) -> None:
    await events.append(
        conn, at=deps.now(), who=who, action=f"database.{action}", subject="database", subject_id=after.id,
        instance_id=after.instance_id, before=before.status, after=after.status, why=why,
    )  # fmt: skip
