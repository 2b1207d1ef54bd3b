"""Change plan: other limits at once, or, where the plan needs another kind of server, a move there."""

from dataclasses import dataclass

from database_service.actions import change_servers, moving
from database_service.actions.moving import Journey, terms_of
from database_service.admission.gate import Why, aside
from database_service.deps import Deps
from database_service.domain.databases import Database
from database_service.domain.errors import DatabaseBusy, Overloaded, SamePlan
from database_service.domain.ids import InstanceId, Who
from database_service.domain.moves import Terms
from database_service.domain.operations import Kind, Operation, Target
from database_service.domain.plans import PLANS, DedicatedSize, ServerType, plan_of, seat_for
from database_service.reconcilers import operations as operation_steps
from database_service.store import databases, events, operations, servers
from database_service.store.pool import Conn


@dataclass(frozen=True, slots=True)
class Wanted:
    """A plan for an instance's database; `require_dedicated` where the plan leaves the choice."""

    instance_id: InstanceId
    plan_tier: str
    require_dedicated: bool = False

    @property
    def terms(self) -> Terms:
        """Raises UnknownPlan, PlanHasNoDedicated."""
        server_type = seat_for(self.plan_tier, require_dedicated=self.require_dedicated)
        return Terms(plan_of(self.plan_tier).tier, server_type, self.require_dedicated)


async def change_plan(deps: Deps, wanted: Wanted, who: Who, *, request_key: str | None = None) -> Operation:
    """The change on its way; one of limits alone is made within the budget. The same `request_key` makes one change.

    Raises UnknownPlan, PlanHasNoDedicated, SamePlan, DatabaseBusy, and what `moving.locked` does.
    """

    async def begin(conn: Conn) -> Operation:
        database = await moving.locked(conn, wanted.instance_id)
        if after == terms_of(database):
            raise SamePlan(wanted.instance_id, after.plan_tier)
        await _refuse_busy(conn, database)
        if after.server_type is not terms_of(database).server_type:
            return await moving.begin(conn, deps, who, Kind.CHANGE_PLAN, [Journey(database, after)], key)
        return await _stay(conn, deps, who, database, after, key)

    after = wanted.terms
    key = f"change-plan:{wanted.instance_id}:{request_key}" if request_key else None
    operation = await moving.once(deps, key, begin)
    try:
        with aside(Why.SERVER):
            await operation_steps.settle(deps, operation.id, deps.policy.allocate_budget)
    except Overloaded:
        deps.nudge.operation(operation.id)
    return operation


async def _refuse_busy(conn: Conn, database: Database) -> None:
    """Neither the database nor a server of its own is part of another operation: which of the two would win?"""
    if holder := await operations.holder(conn, database.id):
        raise DatabaseBusy(database.instance_id or "", holder)
    own = terms_of(database).server_type is ServerType.DEDICATED
    if own and (holder := await operations.holder(conn, moving.source_of(database))):
        raise DatabaseBusy(database.instance_id or "", holder)


async def _stay(conn: Conn, deps: Deps, who: Who, database: Database, after: Terms, key: str | None) -> Operation:
    """It is where it belongs: its limits change, and the size of a server that is its own."""
    resized = _resized(database, after)
    if resized:
        operation = await _resize(conn, deps, who, database, after, resized, key)
    else:
        operation = await moving.begin_with(conn, deps, who, Kind.CHANGE_PLAN, [database], key)
    changed = await databases.set_plan(conn, database.id, after, deps.now())
    await events.append(
        conn, at=deps.now(), who=who, action="database.plan_changed", subject="database", subject_id=database.id,
        instance_id=database.instance_id, before=database.status, after=changed.status,
        why=f"from {database.plan_tier} to {after.plan_tier}",
    )  # fmt: skip
    return operation


def _resized(database: Database, after: Terms) -> DedicatedSize | None:
    size = PLANS[after.plan_tier].dedicated
    if after.server_type is not ServerType.DEDICATED or size == PLANS[database.plan_tier].dedicated:
        return None
    return size


async def _resize(
    conn: Conn, deps: Deps, who: Who, database: Database, after: Terms, size: DedicatedSize, key: str | None
) -> Operation:
    server_id = moving.source_of(database)
    target = Target(memory_limit=size.memory_bytes, cpu_limit=size.cpu)
    operation = await change_servers.begin_in(conn, deps, who, Kind.ROLLOUT, [server_id], target, key)
    await servers.set_plan(conn, server_id, after.plan_tier, deps.now())
    return operation
