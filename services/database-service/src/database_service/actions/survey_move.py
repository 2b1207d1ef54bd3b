"""A dry run: what a change of plan or a move would mean, without changing anything."""

from dataclasses import dataclass
from datetime import timedelta

from database_service.actions.change_plan import Wanted
from database_service.actions.moving import refuse_own_server, refuse_pool, refuse_unready, source_of, terms_of
from database_service.admission.gate import Why, aside
from database_service.deps import Deps
from database_service.domain.databases import Database, LoginState
from database_service.domain.errors import DatabaseNotFound, SamePlan
from database_service.domain.ids import InstanceId, ServerId
from database_service.domain.moves import Terms, estimated_downtime
from database_service.domain.plans import ServerType
from database_service.domain.servers import Server
from database_service.domain.servers import Status as ServerStatus
from database_service.domain.transfers import Survey
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.databases import tenant_spec
from database_service.store import databases, logins, moves, servers, slots
from database_service.store.pool import Conn

WORTH_MEASURING = 32 * 1024**2
"""Bytes: what is smaller tells the pace of a move's overhead, not of its data."""


@dataclass(frozen=True, slots=True)
class MoveReport:
    """What would happen. Without a move nobody notices anything; `downtime` is then zero and there is no survey."""

    instance_id: InstanceId
    moves: bool
    terms: Terms
    source: Server | None
    target: Server | None
    """Where it would go as things stand; None where a server would have to be made first."""
    survey: Survey | None
    downtime: timedelta


async def of_plan(deps: Deps, wanted: Wanted) -> MoveReport:
    """Raises what `change_plan` does, and TenantServerUnavailable."""
    after = wanted.terms
    database = await _ready(deps, wanted.instance_id)
    before = terms_of(database)
    if after == before:
        raise SamePlan(wanted.instance_id, after.plan_tier)
    return await _report(deps, database, after, moves_away=after.server_type is not before.server_type)


async def of_move(deps: Deps, instance_id: InstanceId, pool_id: ServerId | None) -> MoveReport:
    """Raises what `move` does, and TenantServerUnavailable."""
    database = await _ready(deps, instance_id)
    refuse_own_server(database)
    if pool_id:
        async with deps.db.connection() as conn:
            await refuse_pool(conn, database, pool_id)
    return await _report(deps, database, terms_of(database), moves_away=True, pool_id=pool_id)


async def _ready(deps: Deps, instance_id: InstanceId) -> Database:
    async with deps.db.connection() as conn:
        database = await databases.of_instance(conn, instance_id)
    if database is None:
        raise DatabaseNotFound(instance_id)
    refuse_unready(database)
    return database


async def _report(
    deps: Deps, database: Database, after: Terms, *, moves_away: bool, pool_id: ServerId | None = None
) -> MoveReport:
    instance_id = database.instance_id or InstanceId("")
    async with deps.db.connection() as conn:
        source = await servers.get(conn, source_of(database))
        target = await _likely_target(conn, database, after, pool_id) if moves_away else source
        alive = await logins.alive(conn, database.id)
        pace = await moves.pace(conn, WORTH_MEASURING)
    if source is None or not moves_away:
        return MoveReport(instance_id, moves_away, after, source, target, None, timedelta())
    active = [login for login in alive if login.state is LoginState.ACTIVE]
    there = admin_of(deps, target) if target and target.status is ServerStatus.ACTIVE else None
    with aside(Why.SERVER):
        survey = await deps.transfers.survey(admin_of(deps, source), tenant_spec(deps, database, active), there)
    downtime = estimated_downtime(survey.size_bytes, pace or deps.policy.move_bytes_per_s)
    return MoveReport(instance_id, moves_away, after, source, target, survey, downtime)


async def _likely_target(conn: Conn, database: Database, after: Terms, pool_id: ServerId | None) -> Server | None:
    if after.server_type is ServerType.DEDICATED:
        return await servers.dedicated_of(conn, database.instance_id or "")
    target = pool_id or await slots.likely(conn, database.name)
    return await servers.get(conn, target) if target else None
