"""Rotate: a new login at once, the old one for as long as its users need to change over."""

from datetime import timedelta

from database_service.actions.allocate import current_answer, ready_one
from database_service.actions.await_database import until
from database_service.deps import Deps
from database_service.domain.answers import Allocation, Pending
from database_service.domain.databases import Database, Login, LoginState
from database_service.domain.errors import TooManyLogins
from database_service.domain.ids import DatabaseId, InstanceId, Who
from database_service.reconcilers import databases as database_steps
from database_service.reconcilers.newborn import add_login
from database_service.store import databases, events, logins
from database_service.store.changes import DATABASE_CHANGED
from database_service.store.pool import Conn


async def rotate(
    deps: Deps, instance_id: InstanceId, who: Who, *, overlap: timedelta | None = None, request_key: str | None = None
) -> Allocation | Pending:
    """The new credentials; logins before them end `overlap` after the new one works (never before it does).

    The same `request_key` makes one login, however often it is sent. Where somebody else is at the database, that is waited for.
    Pending: stored, and made as soon as the server answers.
    Raises DatabaseNotFound, DatabaseNotReady, DatabaseReleased, DatabaseGone, TooManyLogins.
    """
    async with deps.db.transaction() as conn:
        database = ready_one(instance_id, await databases.lock_of_instance(conn, instance_id))
        wanted = await _want_login(conn, deps, database, overlap, request_key)
        if wanted:
            await databases.look_now(conn, database.id, deps.now())
            await _note(conn, deps, database, wanted, who)
    begun = deps.now()
    if wanted and not await database_steps.step_now(deps, database.id):
        await _until_made(deps, instance_id, database.id, deps.policy.allocate_budget - (deps.now() - begun))
    return await _answer(deps, instance_id, database.id)


async def _until_made(deps: Deps, instance_id: InstanceId, database_id: DatabaseId, patience: timedelta) -> None:
    async def made() -> bool:
        return not await _pending(deps, database_id)

    await until(deps, DATABASE_CHANGED, instance_id, patience, made)


async def _pending(deps: Deps, database_id: DatabaseId) -> bool:
    async with deps.db.connection() as conn:
        return any(login.state is LoginState.PENDING for login in await logins.alive(conn, database_id))


async def _want_login(
    conn: Conn, deps: Deps, database: Database, overlap: timedelta | None, request_key: str | None
) -> Login | None:
    """The new login's row; None where this key asked for one before."""
    if request_key and await logins.by_request_key(conn, database.id, request_key):
        return None
    if len(await logins.alive(conn, database.id)) >= deps.policy.most_logins:
        raise TooManyLogins(database.instance_id or "", deps.policy.most_logins)
    lasting = deps.policy.rotation_overlap if overlap is None else overlap
    return await add_login(conn, deps, database.id, overlap=lasting, request_key=request_key)


async def _note(conn: Conn, deps: Deps, database: Database, login: Login, who: Who) -> None:
    await events.append(
        conn, at=deps.now(), who=who, action="database.rotated", subject="database", subject_id=database.id,
        instance_id=database.instance_id, before=database.status, after=database.status, why=login.role,
    )  # fmt: skip


async def _answer(deps: Deps, instance_id: InstanceId, database_id: DatabaseId) -> Allocation | Pending:
    """Whether one is pending is asked first: a login that is made between the two questions would pass for not being wanted, and
    the credentials that end with it for the new ones."""
    pending = await _pending(deps, database_id)
    answer = await current_answer(deps, instance_id)
    if not (pending and isinstance(answer, Allocation)):
        return answer
    deps.nudge.database(database_id)
    return Pending(
        instance_id=instance_id,
        status=answer.database.status,
        retry_after=deps.policy.retry_after,
        message="The new login is being made; the old one keeps working until then.",
        server_id=answer.server_id,
    )
