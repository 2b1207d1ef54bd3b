"""One step for one database: look at the row, make one idempotent effect on its server, record it fenced."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from database_service.admission.gate import Why, aside
from database_service.deps import Deps
from database_service.domain.databases import (
    ApplyLimits,
    Build,
    Close,
    Database,
    Drop,
    DropLogin,
    Login,
    LoginState,
    MakeLogin,
    Move,
    Purge,
    Rest,
    Seat,
    SetStop,
    Status,
    decide,
)
from database_service.domain.errors import Overloaded, ServiceError, TenantServerUnavailable
from database_service.domain.ids import DatabaseId
from database_service.domain.plans import PLANS, ServerType, fitted
from database_service.domain.servers import Health, Server
from database_service.domain.servers import Status as ServerStatus
from database_service.domain.tenancy import LoginSpec, TenantSpec
from database_service.domain.usage import Stop
from database_service.reconcilers.addressing import admin_of, suspect
from database_service.reconcilers.leasing import LostLease, give_back, later, new_token, reconciler, said, timed
from database_service.reconcilers.newborn import add_login, new_waiting
from database_service.reconcilers.storage import judged
from database_service.store import databases, events, logins, moves, servers, slots, usage
from database_service.store.pool import Conn

log = structlog.get_logger(__name__)

SEAT_AGAIN = timedelta(seconds=5)
COMING = (ServerStatus.PROVISIONING, ServerStatus.INITIALIZING)


async def step(deps: Deps, database_id: DatabaseId) -> Database | None:
    """One step under a lease of its own. None: nothing is due, or somebody else is at it."""
    token = new_token()
    async with deps.db.connection() as conn:
        database = await databases.claim(conn, database_id, deps.now(), deps.policy.lease, token)
    return await carry_on(deps, database, token, deps.policy.effect_timeout) if database else None


async def step_now(deps: Deps, database_id: DatabaseId) -> bool:
    """The step a verb's caller waits for: within the budget; where time ends, the worker goes on. False: others are at it."""
    try:
        with aside(Why.SERVER):
            after = await _step_within(deps, database_id, deps.policy.allocate_budget)
    except Overloaded:
        after = None
    if after is None or after.due_at:
        deps.nudge.database(database_id)
    return after is not None


async def _step_within(deps: Deps, database_id: DatabaseId, patience: timedelta) -> Database | None:
    token = new_token()
    async with deps.db.connection() as conn:
        database = await databases.claim(conn, database_id, deps.now(), deps.policy.lease, token)
    return await carry_on(deps, database, token, patience) if database else None


async def carry_on(deps: Deps, database: Database, token: UUID, patience: timedelta) -> Database | None:
    """The step of a row that is leased already; effects that take longer than `patience` are cut off and tried again."""
    with structlog.contextvars.bound_contextvars(database_id=str(database.id)):
        try:
            return await _act_and_record(deps, database, patience)
        except LostLease:
            log.info("database.changed_meanwhile")
            await give_back(deps, "databases", database.id, token)
            return None


async def _act_and_record(deps: Deps, database: Database, patience: timedelta) -> Database:
    async with deps.db.connection() as conn:
        alive = await logins.alive(conn, database.id)
        server = await servers.get(conn, database.server_id) if database.server_id else None
    move = decide(database, alive, deps.now())
    if server and server.status in COMING:
        return await _put_off(deps, database)
    with timed("database") as came_out:
        try:
            async with asyncio.timeout(patience.total_seconds()):
                await _act(deps, database, server, alive, move)
        except (ServiceError, TimeoutError) as e:
            came_out("failed")
            return await _failed(deps, database, server, e)
        came_out(type(move).__name__.lower())
        return await _record(deps, database, server, alive, move)


# -- effects ----------------------------------------------------------------------------------------------------------


async def _act(deps: Deps, database: Database, server: Server | None, alive: Sequence[Login], move: Move) -> None:
    if isinstance(move, Seat | Purge | Rest):
        return
    if server is None:
        raise TenantServerUnavailable(f"the server of database {database.name} is not known")
    now = deps.now()
    working = [login for login in alive if login.expires_at is None or login.expires_at > now]
    spec = tenant_spec(deps, database, working if isinstance(move, Build | ApplyLimits | SetStop) else ())
    tenant = _fitted(spec, server)
    admin = admin_of(deps, _reachable(server))
    match move:
        case Build():
            await deps.tenants.build(admin, tenant)
        case ApplyLimits():
            await deps.tenants.apply_limits(admin, tenant)
        case SetStop(stop):
            await deps.tenants.stop(admin, tenant, stop, PLANS[database.plan_tier].storage_bytes)
        case MakeLogin(login):
            await deps.tenants.make_login(admin, tenant, _login_spec(deps, login))
        case DropLogin(login):
            await deps.tenants.drop_login(admin, tenant, login.role)
        case Close():
            await deps.tenants.close(admin, tenant)
        case Drop():
            if database.twin_of:
                await deps.transfers.discard(admin, tenant, await _given_up(deps, database))
            await deps.tenants.drop(admin, tenant)


async def _given_up(deps: Deps, database: Database) -> Sequence[str]:
    async with deps.db.connection() as conn:
        return await moves.stale_of(conn, database.id)


def _reachable(server: Server) -> Server:
    if server.status is ServerStatus.GONE or not server.address:
        raise TenantServerUnavailable(
            f"the server {server.name} is {server.status}: {server.last_error or 'it has no address'}"
        )
    return server


def _fitted(tenant: TenantSpec, server: Server) -> TenantSpec:
    """On a small shared server a plan may give more sessions than one tenant can be let have."""
    sessions = server.facts.get("connections_max")
    if server.server_type is not ServerType.SHARED or not isinstance(sessions, int):
        return tenant
    return replace(tenant, limits=fitted(tenant.limits, sessions))


def tenant_spec(deps: Deps, database: Database, alive: Sequence[Login]) -> TenantSpec:
    return TenantSpec(
        name=database.name,
        physical_name=database.physical_name,
        owner_role=database.owner_role,
        template=database.template,
        limits=PLANS[database.plan_tier].limits,
        logins=[_login_spec(deps, login) for login in alive],
        waited_for=database.ask is not None,
    )


def _login_spec(deps: Deps, login: Login) -> LoginSpec:
    return LoginSpec(login.role, deps.secrets.open(login.password_sealed, login.id))


# -- recording --------------------------------------------------------------------------------------------------------


async def _record(
    deps: Deps, database: Database, server: Server | None, alive: Sequence[Login], move: Move
) -> Database:
    now = deps.now()
    match move:
        case Seat():
            return await _take_a_seat(deps, database, now)
        case Build(status):
            return await _built(deps, database, alive, status, now)
        case ApplyLimits():
            return await _limits_applied(deps, database, alive, now)
        case SetStop(stop):
            return await _stop_set(deps, database, alive, stop)
        case MakeLogin(login):
            return await _login_made(deps, database, login, now)
        case DropLogin(login):
            return await _login_dropped(deps, database, login)
        case Close():
            return await _save(deps, database, _moved(database, Status.RELEASED, now), alive, "closed")
        case Purge():
            return await _purged(deps, database, alive, now)
        case Drop():
            return await _dropped(deps, database, server, now)
        case Rest():
            return await _save(deps, database, database, alive, "")


def _moved(database: Database, status: Status, now: datetime) -> Database:
    return replace(database, status=status, status_since=now)


def _paced(database: Database, alive: Sequence[Login], now: datetime) -> Database:
    """When this row is to be looked at next, if nothing happens to it before."""
    move = decide(database, alive, now)
    due_at = move.until if isinstance(move, Rest) else now
    return replace(database, due_at=due_at, attempts=0, last_error=None)


async def _save(deps: Deps, before: Database, after: Database, alive: Sequence[Login], action: str) -> Database:
    async with deps.db.transaction() as conn:
        return await _save_in(conn, deps, before, after, alive, action)


async def _save_in(
    conn: Conn,
    deps: Deps,
    before: Database,
    after: Database,
    alive: Sequence[Login],
    action: str,
    why: str | None = None,
) -> Database:
    now = deps.now()
    saved = await databases.save(conn, _paced(after, alive, now))
    if saved is None:
        raise LostLease
    if action:
        await _note(conn, before, after, now, action, why)
    return saved


async def _note(
    conn: Conn, before: Database, after: Database, now: datetime, action: str, why: str | None = None
) -> None:
    await events.append(
        conn, at=now, who=reconciler(), action=f"database.{action}", subject="database", subject_id=after.id,
        instance_id=after.instance_id, before=before.status, after=after.status, why=why,
    )  # fmt: skip


async def _built(deps: Deps, database: Database, alive: Sequence[Login], status: Status, now: datetime) -> Database:
    after = replace(
        _moved(database, status, now),
        physical_name=database.name,
        limits_tier=database.plan_tier,
        ready_at=database.ready_at or (now if status is Status.READY else None),
        released_at=None,
        purge_after=None,
    )
    async with deps.db.transaction() as conn:
        stop_wanted = await judged(conn, database, now)
        after = replace(after, stop=_known(after.stop, stop_wanted), stop_wanted=stop_wanted)
        await logins.activate(conn, database.id, [login.id for login in alive])
        for login in alive:
            if login.state is LoginState.PENDING:  # a rotation that was still to be made
                await logins.expire_older(conn, login.id, now)
        return await _save_in(conn, deps, database, after, await logins.alive(conn, database.id), "built")


def _known(stop: Stop | None, wanted: Stop) -> Stop | None:
    """Its door was opened, perhaps on another server than before: where it is or was stopped, the server is told again."""
    return Stop.NONE if stop is Stop.NONE and wanted is Stop.NONE else None


async def _limits_applied(deps: Deps, database: Database, alive: Sequence[Login], now: datetime) -> Database:
    """A bigger plan frees a database that was too large, without waiting for the next look at its size."""
    async with deps.db.transaction() as conn:
        after = replace(database, limits_tier=database.plan_tier, stop_wanted=await judged(conn, database, now))
        return await _save_in(conn, deps, database, after, alive, "limits_applied")


async def _stop_set(deps: Deps, database: Database, alive: Sequence[Login], stop: Stop) -> Database:
    after = replace(database, stop=stop)
    if database.stop is None:  # it was only told again
        return await _save(deps, database, after, alive, "")
    match stop:
        case Stop.NONE:
            return await _save(deps, database, after, alive, "writes_allowed")
        case Stop.WRITES:
            return await _save(deps, database, after, alive, "writes_stopped")
        case Stop.DOOR:
            return await _save(deps, database, after, alive, "door_shut")


async def _login_made(deps: Deps, database: Database, login: Login, now: datetime) -> Database:
    async with deps.db.transaction() as conn:
        await logins.activate(conn, database.id, [login.id])
        await logins.expire_older(conn, login.id, now)
        if database.instance_id:
            await databases.tell(conn, database.instance_id)
        alive = await logins.alive(conn, database.id)
        return await _save_in(conn, deps, database, database, alive, "login_made", login.role)


async def _login_dropped(deps: Deps, database: Database, login: Login) -> Database:
    async with deps.db.transaction() as conn:
        await logins.drop(conn, login.id)
        alive = await logins.alive(conn, database.id)
        return await _save_in(conn, deps, database, database, alive, "login_dropped", login.role)


async def _purged(deps: Deps, database: Database, alive: Sequence[Login], now: datetime) -> Database:
    async with deps.db.transaction() as conn:
        await moves.end_keeping(conn, database.id, now)
        return await _save_in(conn, deps, database, _moved(database, Status.PURGED, now), alive, "purged")


async def _dropped(deps: Deps, database: Database, server: Server | None, now: datetime) -> Database:
    """The slot goes back, and a dedicated server, which was there for this instance alone, goes with its database."""
    after = replace(database, server_id=None, physical_name=None)
    async with deps.db.transaction() as conn:
        await slots.free(conn, database.id)
        await logins.drop_all(conn, database.id)
        await usage.forget(conn, database.id)
        saved = await _save_in(conn, deps, database, after, (), "dropped")
        if server and server.status is ServerStatus.DEPROVISIONING:
            await servers.make_due(conn, server.id, now)  # it waits for its last database to go
        dedicated = server is not None and server.server_type is ServerType.DEDICATED
        if server and dedicated and server.status in (ServerStatus.ACTIVE, ServerStatus.ERROR):
            await servers.deprovision(conn, server.id, now, None)
            await slots.remove_free(conn, server.id)
            await events.append(
                conn, at=now, who=reconciler(), action="server.retired", subject="server", subject_id=server.id,
                before=server.status, after=ServerStatus.DEPROVISIONING, why="its database is gone",
            )  # fmt: skip
    if server and dedicated:
        deps.nudge.server(server.id)
    return saved


# -- seats ------------------------------------------------------------------------------------------------------------


async def _take_a_seat(deps: Deps, database: Database, now: datetime) -> Database:
    wanted = database.ask.database_name if database.ask else None
    async with deps.db.transaction() as conn:
        if seat := await slots.reserve(conn, database.id, wanted):
            return await _sit_down(conn, deps, database, seat, now)
    return await _put_off(deps, database)


async def _put_off(deps: Deps, database: Database) -> Database:
    """Nothing failed, there is only nothing to do yet; a server that becomes active makes its databases due at once."""
    async with deps.db.connection() as conn:
        saved = await databases.save(conn, replace(database, due_at=deps.now() + SEAT_AGAIN))
    if saved is None:
        raise LostLease
    return saved


async def _sit_down(conn: Conn, deps: Deps, database: Database, seat: slots.Seat, now: datetime) -> Database:
    seated = await databases.take_seat(
        conn, database, server_id=seat.server_id, rank=seat.rank, name=database.name, now=now
    )
    if seated is None:
        raise LostLease
    await add_login(conn, deps, seated.id)
    await _note(conn, database, seated, now, "seated")
    return seated


# -- failures ---------------------------------------------------------------------------------------------------------


async def _failed(
    deps: Deps, database: Database, server: Server | None, error: ServiceError | TimeoutError
) -> Database:
    attempts = database.attempts + 1
    log.warning("database.step_failed", status=database.status, attempts=attempts, error=said(error))
    if _better_elsewhere(deps, database, server, attempts):
        return await _seat_elsewhere(deps, database)
    after = replace(database, attempts=attempts, last_error=said(error), due_at=later(deps, attempts))
    async with deps.db.connection() as conn:
        saved = await databases.save(conn, after)
    if server and isinstance(error, TenantServerUnavailable):
        await suspect(deps, server.id)
    if saved is None:
        raise LostLease
    return saved


def _better_elsewhere(deps: Deps, database: Database, server: Server | None, attempts: int) -> bool:
    """A database nobody has used yet need not wait for an ill shared server. A dedicated one has no elsewhere."""
    return (
        database.status is Status.CREATING
        and database.ask is not None
        and not database.built
        and attempts >= deps.policy.reseat_attempts
        and server is not None
        and server.instance_id is None
        and (server.health is Health.UNHEALTHY or server.status is not ServerStatus.ACTIVE)
    )


async def _seat_elsewhere(deps: Deps, database: Database) -> Database:
    """The instance gets a new row, with new names; the old one keeps its slot until what may be half-made there is dropped."""
    now = deps.now()
    ask = database.ask
    if ask is None:
        raise LostLease
    async with deps.db.transaction() as conn:
        if await databases.relinquish(conn, database, reconciler(), now) is None:
            raise LostLease
        waiting = await new_waiting(conn, deps, ask)
        if database.protected:
            waiting = await databases.want(conn, replace(waiting, protected=True))
        await _note(conn, database, waiting, now, "seated_elsewhere", database.last_error)
    deps.nudge.capacity()
    return waiting
