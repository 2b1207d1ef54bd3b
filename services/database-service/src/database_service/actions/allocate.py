"""Allocate: exactly one database for an instance, the same answer however often it is asked."""

from datetime import datetime, timedelta
from uuid import uuid4

from database_service.actions.await_database import until
from database_service.actions.rendering import allocation_of, pending_of
from database_service.admission.gate import Why, aside
from database_service.deps import Deps
from database_service.domain import naming
from database_service.domain.answers import Allocation, Pending
from database_service.domain.databases import TEMPLATES, Ask, Database, Status
from database_service.domain.errors import (
    AskDiffers,
    DatabaseGone,
    DatabaseMoving,
    DatabaseNotFound,
    DatabaseNotReady,
    DatabaseReleased,
    InvalidField,
    Overloaded,
    PlanHasNoDedicated,
    ServiceError,
    Unavailable,
    UnknownTemplate,
)
from database_service.domain.ids import CustomerId, DatabaseId, InstanceId, Who
from database_service.domain.plans import PLANS, ServerType, Tier
from database_service.domain.servers import Server
from database_service.observability import metrics
from database_service.reconcilers import databases as database_steps
from database_service.reconcilers.leasing import give_back
from database_service.reconcilers.newborn import Held, new_seated, new_waiting
from database_service.reconcilers.ordering import new_dedicated
from database_service.store import databases, events, servers, slots
from database_service.store.changes import DATABASE_CHANGED
from database_service.store.pool import Conn

RACES = 5
"""So often may another request for the same instance, or for the same name on the same server, come first."""


async def allocate(deps: Deps, ask: Ask, who: Who, *, wait: timedelta | None = None) -> Allocation | Pending:
    """The instance's database: from a spare at once, else built within the budget, else accepted and built by the worker.

    `wait` holds the answer until it is ready, at most so long. Raises UnknownTemplate, InvalidField, AskDiffers,
    DatabaseReleased, DatabaseGone.
    """
    try:
        _refuse_bad(ask)
        return await _counted(deps, ask, who, wait)
    except ServiceError:
        metrics.allocated("refused")
        raise


async def _counted(deps: Deps, ask: Ask, who: Who, wait: timedelta | None) -> Allocation | Pending:
    begun = deps.now()
    answer = await _answer(deps, ask, who)
    if isinstance(answer, Allocation):
        return answer
    metrics.allocated("pending")
    patience = wait if wait is not None else _rest_of_budget(deps, begun, answer)
    if patience <= timedelta():
        return answer
    return await _awaited(deps, ask.instance_id, patience, answer)


async def _awaited(
    deps: Deps, instance_id: InstanceId, patience: timedelta, answer: Allocation | Pending
) -> Allocation | Pending:
    """The answer once there is one to use, or the last that was seen; one look at the row for each change of it."""

    async def allocated() -> bool:
        nonlocal answer
        answer = await current_answer(deps, instance_id)
        return isinstance(answer, Allocation)

    await until(deps, DATABASE_CHANGED, instance_id, patience, allocated)
    return answer


def _refuse_bad(ask: Ask) -> None:
    if ask.template not in TEMPLATES:
        raise UnknownTemplate(ask.template)
    if ask.database_name is not None and (problem := naming.problem_with_database_name(ask.database_name)):
        raise InvalidField("database_name", problem)


def _rest_of_budget(deps: Deps, begun: datetime, answer: Pending) -> timedelta:
    """Somebody else is just building it: their answer is ours, if it comes in time."""
    if answer.status is not Status.CREATING or answer.server_id is None:
        return timedelta()
    return deps.policy.allocate_budget - (deps.now() - begun)


async def _answer(deps: Deps, ask: Ask, who: Who) -> Allocation | Pending:
    for _ in range(RACES):
        try:
            return await _claim_or_replay_or_begin(deps, ask, who)
        except databases.RACED:
            continue
    raise Unavailable(f"Too many requests race for instance {ask.instance_id!r}; ask again.")


async def _claim_or_replay_or_begin(deps: Deps, ask: Ask, who: Who) -> Allocation | Pending:
    if ask.server_type is ServerType.SHARED and ask.database_name is None:
        seated = await deps.claims.claim(deps.db, databases.Claim(ask, who, deps.now()))
        if seated:
            if seated.database.due_at:
                deps.nudge.database(seated.database.id)
            metrics.allocated("spare")
            return allocation_of(deps, seated)
    if (existing := await _existing(deps, ask)) is not None:
        return existing
    return await _begin(deps, ask, who)


async def _existing(deps: Deps, ask: Ask) -> Allocation | Pending | None:
    async with deps.db.connection() as conn:
        database = await databases.of_instance(conn, ask.instance_id)
        seated = await databases.seated(conn, ask.instance_id) if database else None
    if database is None:
        return None
    refuse_ended(database)
    if database.ask and (differences := ask.differences(database.ask)):
        raise AskDiffers(ask.instance_id, differences)
    if seated:
        metrics.allocated("replay")
        return allocation_of(deps, seated)
    return pending_of(deps, database)


def refuse_ended(database: Database) -> None:
    """A released database is not handed out again by accident."""
    instance = database.instance_id or ""
    match database.status:
        case Status.PURGED:
            raise DatabaseGone(instance)
        case Status.RELEASING | Status.RELEASED:
            raise DatabaseReleased(instance, database.purge_after)


def ready_one(instance_id: InstanceId, database: Database | None) -> Database:
    """It, where it serves. DatabaseNotFound, DatabaseReleased, DatabaseGone, DatabaseMoving, DatabaseNotReady."""
    if database is None:
        raise DatabaseNotFound(instance_id)
    refuse_ended(database)
    if database.status is Status.MOVING:
        raise DatabaseMoving(instance_id)
    if database.status is not Status.READY:
        raise DatabaseNotReady(instance_id, database.status)
    return database


async def current_answer(deps: Deps, instance_id: InstanceId) -> Allocation | Pending:
    """What the row says now."""
    async with deps.db.connection() as conn:
        seated = await databases.seated(conn, instance_id)
        database = seated.database if seated else await databases.of_instance(conn, instance_id)
    if seated:
        return allocation_of(deps, seated)
    if database is None:
        raise DatabaseGone(instance_id)
    refuse_ended(database)
    return pending_of(deps, database)


# -- no spare ---------------------------------------------------------------------------------------------------------


async def _begin(deps: Deps, ask: Ask, who: Who) -> Allocation | Pending:
    """Store the wish with a seat if there is one; then the reconciler's own step, at once and within the budget."""
    async with deps.db.transaction() as conn:
        begun = await (_begin_dedicated if ask.server_type is ServerType.DEDICATED else _begin_shared)(
            conn, deps, ask, who
        )
    database = begun.database if isinstance(begun, Held) else begun
    deps.nudge.capacity()
    if isinstance(begun, Held):
        await build_now(deps, begun)
    elif database.server_id:
        deps.nudge.server(database.server_id)
    answer = await current_answer(deps, ask.instance_id)
    if isinstance(answer, Allocation):
        metrics.allocated("built")
    return answer


async def build_now(deps: Deps, held: Held) -> None:
    """The step the worker would run; where the budget ends first, or too many are at it, the worker goes on."""
    try:
        with aside(Why.SERVER):
            after = await database_steps.carry_on(deps, held.database, held.token, deps.policy.allocate_budget)
    except Overloaded:
        await give_back(deps, "databases", held.database.id, held.token)
        after = None
    if after is None or after.status is not Status.READY or after.due_at:
        deps.nudge.database(held.database.id)


async def _begin_shared(conn: Conn, deps: Deps, ask: Ask, who: Who) -> Held | Database:
    if ask.database_name is not None and (renamed := await _spare_to_rename(conn, deps, ask, who)):
        return renamed
    database_id = DatabaseId(uuid4())
    if seat := await slots.reserve(conn, database_id, ask.database_name):
        held = await new_seated(conn, deps, database_id, ask, seat)
        await _note(conn, deps, held.database, who)
        return held
    waiting = await new_waiting(conn, deps, ask)
    await _note(conn, deps, waiting, who)
    return waiting


async def _spare_to_rename(conn: Conn, deps: Deps, ask: Ask, who: Who) -> Held | None:
    token = uuid4()
    database = await databases.claim_spare_to_rename(conn, ask, deps.now(), deps.policy.lease, token)
    if database is None:
        return None
    await _note(conn, deps, database, who, before=Status.SPARE)
    return Held(database, token)


async def _begin_dedicated(conn: Conn, deps: Deps, ask: Ask, who: Who) -> Held | Database:
    """A seat on the instance's own server, which is ordered here unless `provision-dedicated` did so before."""
    server = await _dedicated_server(conn, deps, ask.instance_id, ask.customer_id, ask.plan_tier, who)
    database_id = DatabaseId(uuid4())
    seat = await slots.reserve_on(conn, database_id, server.id)
    if seat is None:
        raise databases.AlreadyThere(f"the server of instance {ask.instance_id} is taken")
    held = await new_seated(conn, deps, database_id, ask, seat)
    await _note(conn, deps, held.database, who)
    return held


async def _note(conn: Conn, deps: Deps, database: Database, who: Who, before: Status | None = None) -> None:
    await events.append(
        conn, at=deps.now(), who=who, action="database.asked_for", subject="database", subject_id=database.id,
        instance_id=database.instance_id, before=before, after=database.status,
    )  # fmt: skip


# -- a dedicated server first -----------------------------------------------------------------------------------------


async def provision_dedicated(
    deps: Deps, instance_id: InstanceId, customer_id: CustomerId, tier: Tier, who: Who
) -> Server:
    """Order the instance's dedicated server; asked again, the same one. Raises PlanHasNoDedicated, AskDiffers."""
    if PLANS[tier].dedicated is None:
        raise PlanHasNoDedicated(tier)
    for _ in range(RACES):
        try:
            async with deps.db.transaction() as conn:
                database = await databases.of_instance(conn, instance_id)
                if database and database.ask and database.ask.server_type is not ServerType.DEDICATED:
                    raise AskDiffers(instance_id, ("server_type",))
                server = await _dedicated_server(conn, deps, instance_id, customer_id, tier, who)
        except databases.RACED:
            continue
        deps.nudge.server(server.id)
        return server
    raise Unavailable(f"Too many requests race for instance {instance_id!r}; ask again.")


async def _dedicated_server(
    conn: Conn, deps: Deps, instance_id: InstanceId, customer_id: CustomerId, tier: Tier, who: Who
) -> Server:
    if existing := await servers.dedicated_of(conn, instance_id):
        differences = [
            field
            for field, here, there in (
                ("customer_id", existing.customer_id, customer_id), ("plan_tier", existing.plan_tier, tier),
            )
            if here != there
        ]  # fmt: skip
        if differences:
            raise AskDiffers(instance_id, tuple(differences))
        return existing
    ordered = await new_dedicated(conn, deps, who, instance_id, customer_id, tier)
    if ordered is None:
        raise LookupError("an order without a request key conflicts with nothing")
    return ordered
