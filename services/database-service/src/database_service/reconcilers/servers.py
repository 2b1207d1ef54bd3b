"""One step for one server: look at the row and the world, make one idempotent effect, record it fenced."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from database_service.deps import Deps
from database_service.domain import sizing
from database_service.domain.databases import TEMPLATES
from database_service.domain.errors import ProvisioningFailed, ServiceError
from database_service.domain.ids import DatabaseId, ServerId
from database_service.domain.servers import (
    Address,
    Become,
    Certify,
    Ensure,
    Health,
    Move,
    Open,
    Presence,
    Probe,
    Remove,
    Rest,
    Seen,
    Server,
    ServerSpec,
    Status,
    Verdict,
    Wait,
    assess,
    decide,
    next_look,
)
from database_service.domain.tenancy import Admin
from database_service.provisioners.base import Provisioner
from database_service.reconcilers import certifying
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.leasing import LostLease, give_back, later, new_token, reconciler, said, timed
from database_service.store import databases, events, servers, slots
from database_service.store.pool import Conn

log = structlog.get_logger(__name__)

PROBE_TIMEOUT = timedelta(seconds=5)
LEAST_PATIENCE = timedelta(milliseconds=400)
TIGHTEST_POLL = timedelta(milliseconds=50)
SLOWEST_POLL = timedelta(seconds=2)
UNKNOWN_AGAIN = timedelta(seconds=10)
DEDICATED_CONNECTIONS_PER_SLOT = 200


async def step(deps: Deps, server_id: ServerId, *, only_look: bool = False) -> Server | None:
    """One step under a lease of its own. None: nothing is due, or somebody else is at it.

    With `only_look` health is recorded, and whatever has to be done about it is left to the next step, due at once.
    """
    token = new_token()
    async with deps.db.connection() as conn:
        server = await servers.claim(conn, server_id, deps.now(), deps.policy.lease, token)
    if server is None:
        return None
    with structlog.contextvars.bound_contextvars(server_id=str(server_id)):
        try:
            return await _carry_on(deps, server, only_look=only_look)
        except LostLease:
            log.info("server.changed_meanwhile")
            await give_back(deps, "servers", server_id, token)
            return None


async def settle(deps: Deps, server_id: ServerId, patience: timedelta) -> Server | None:
    """Step after step while there is something to do soon, as for a server that is just starting; at most `patience`."""
    until = deps.now() + patience
    server = await step(deps, server_id)
    while server and server.due_at and deps.now() < until:
        pause = server.due_at - deps.now()
        if pause > timedelta(seconds=1):
            break
        await asyncio.sleep(max(pause.total_seconds(), 0))  # noqa: TID251  a start is watched closely, and not for long
        server = await step(deps, server_id)
    return server


async def _carry_on(deps: Deps, server: Server, *, only_look: bool) -> Server:
    with timed("server") as came_out:
        seen = await look(deps, server)
        move = decide(server, seen, deps.now(), deps.policy)
        if only_look and isinstance(move, Ensure | Open | Certify | Remove):
            move = Wait(seen.complaint, until=deps.now())
        try:
            async with asyncio.timeout(deps.policy.effect_timeout.total_seconds()):
                await _act(deps, server, seen, move)
        except (ServiceError, TimeoutError) as e:
            move = Wait(said(e), failed=True)
        came_out("failed" if isinstance(move, Wait) and move.failed else type(move).__name__.lower())
        return await _record(deps, server, seen, move)


# -- looking ----------------------------------------------------------------------------------------------------------


async def look(deps: Deps, server: Server) -> Seen:
    """What the provisioner finds, and where it runs, what a real login finds.

    A process without this provisioner, such as the API, goes by the login alone.
    """
    try:
        async with asyncio.timeout(PROBE_TIMEOUT.total_seconds() * 2):
            seen = await _observe(deps, server)
    except (ServiceError, TimeoutError) as e:
        return Seen(Presence.UNKNOWN, why=said(e))
    if server.status is Status.DEPROVISIONING:
        return replace(seen, tenants_left=await _tenants_left(deps, server))
    if seen.presence is Presence.RUNNING and seen.address:
        return replace(seen, probe=await _probe(deps, server, seen.address))
    if seen.presence is Presence.UNKNOWN and server.status is Status.ACTIVE and server.address:
        return await _by_login_alone(deps, server, seen, server.address)
    return seen


async def _by_login_alone(deps: Deps, server: Server, seen: Seen, address: Address) -> Seen:
    """Where nobody can look, one that serves is well: an engine that is away is no reason to give its tenants up."""
    probe = await _probe(deps, server, address)
    return Seen(Presence.RUNNING, address, probe) if probe.ok else seen


async def _observe(deps: Deps, server: Server) -> Seen:
    if server.provisioner not in deps.provisioners and server.address:
        return Seen(Presence.RUNNING, server.address)
    return await provisioner_of(deps, server).observe(server.id)


async def _probe(deps: Deps, server: Server, address: Address) -> Probe:
    try:
        admin = admin_of(deps, server, address)
    except ServiceError as e:
        return Probe(ok=False, why=said(e))
    probe = await deps.tenants.probe(admin, _patience(deps, server))
    if not probe.ok and server.admin_password_next is not None:
        await _try_next_password(deps, server, admin)
    return probe


async def _try_next_password(deps: Deps, server: Server, admin: Admin) -> None:
    """A rotation whose answer was lost: where the server has the next password, it is the one. Raises LostLease then, as what
    was read of the row no longer holds."""
    following = replace(admin, password=deps.secrets.open(server.admin_password_next or b"", server.id))
    if not (await deps.tenants.probe(following, _patience(deps, server))).ok:
        return
    async with deps.db.transaction() as conn:
        if await servers.turn_password(conn, server.id, server.version, deps.now()):
            await note_rotated(conn, server, deps.now())
    raise LostLease


async def note_rotated(conn: Conn, server: Server, now: datetime) -> None:
    await events.append(
        conn, at=now, who=reconciler(), action="server.admin_password_rotated", subject="server", subject_id=server.id,
        before=server.status, after=server.status, why=f"version {server.admin_password_version + 1}",
    )  # fmt: skip


def _patience(deps: Deps, server: Server) -> timedelta:
    """While a server starts its address may swallow the first packets, which are sent again only after a second: a login is
    then better tried anew. The longer a start takes, the more a login may."""
    if server.status is not Status.INITIALIZING:
        return PROBE_TIMEOUT
    return min(PROBE_TIMEOUT, max(LEAST_PATIENCE, (deps.now() - server.status_since) / 2))


async def _tenants_left(deps: Deps, server: Server) -> int:
    """Only a server that outlives our interest in it must be cleaned before it is forgotten."""
    if server.provisioner != "external":
        return 0
    async with deps.db.connection() as conn:
        return await slots.occupied(conn, server.id)


def provisioner_of(deps: Deps, server: Server) -> Provisioner:
    """ProvisioningFailed in a process that has none of this kind."""
    try:
        return deps.provisioners[server.provisioner]
    except KeyError:
        raise ProvisioningFailed(f"No worker is set up for servers of kind {server.provisioner}.") from None


# -- effects ----------------------------------------------------------------------------------------------------------


async def _act(deps: Deps, server: Server, seen: Seen, move: Move) -> None:
    match move:
        case Ensure():
            await provisioner_of(deps, server).ensure(spec_of(deps, server))
        case Open():
            await deps.tenants.harden(admin_of(deps, server, seen.address), sorted(TEMPLATES))
            # From here on an empty place is a loss: the provisioner is told before anybody's data is there.
            await provisioner_of(deps, server).ensure(replace(spec_of(deps, server), made_before=True))
        case Certify(host):
            await certifying.certify(deps, server, admin_of(deps, server, seen.address), host)
        case Remove(keep_data):
            await provisioner_of(deps, server).remove(server.id, keep_data=keep_data)
        case Become() | Wait() | Rest():
            pass


def spec_of(deps: Deps, server: Server) -> ServerSpec:
    """The server as it should be, computed from its row alone."""
    per_slot = DEDICATED_CONNECTIONS_PER_SLOT if server.instance_id else sizing.CONNECTIONS_PER_SLOT
    return ServerSpec(
        id=server.id,
        name=server.name,
        server_type=server.server_type,
        admin_user=server.admin_user,
        admin_password=deps.secrets.open(server.admin_password_sealed, server.id),
        settings=sizing.postgres_settings(
            slots=server.max_instances, memory_bytes=server.memory_limit, cpu=server.cpu_limit, per_slot=per_slot
        ),
        cpu_limit=server.cpu_limit,
        memory_limit=server.memory_limit,
        image=server.image,
        password_version=server.admin_password_version,
        made_before=server.postgres_version is not None,
        identity=certifying.identity_of(deps, server) if server.tls else None,
        key_id=server.tls.key_id if server.tls else "",
    )


# -- recording --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a move makes of the row: its state, its errors, and when to look again."""

    status: Status
    attempts: int
    error: str | None
    due_at: datetime | None


def _outcome(deps: Deps, server: Server, verdict: Verdict, move: Move) -> _Outcome:
    now = deps.now()
    match move:
        case Ensure():
            started = Status.INITIALIZING if server.status is Status.PROVISIONING else server.status
            return _Outcome(started, server.attempts + 1, move.why or server.last_error, now + _after_start(server))
        case Open():
            return _Outcome(Status.ACTIVE, 0, None, now + next_look(server, verdict, deps.policy))
        case Certify():
            return _Outcome(server.status, server.attempts + 1, server.last_error, now + _after_start(server))
        case Become(Status.GONE):
            return _Outcome(Status.GONE, 0, None, None)
        case Become(status, why):
            due_at = now + (deps.policy.error_recheck if status is Status.ERROR else timedelta())
            return _Outcome(status, 0, why or None, due_at)
        case Remove(keep_data):
            return _Outcome(Status.DEPROVISIONING if keep_data else Status.GONE, 0, None, now if keep_data else None)
        case Wait():
            return _waiting(deps, server, verdict, move)
        case Rest():
            return _Outcome(server.status, 0, None, now + next_look(server, verdict, deps.policy))


def _waiting(deps: Deps, server: Server, verdict: Verdict, wait: Wait) -> _Outcome:
    now = deps.now()
    if wait.failed:
        attempts = server.attempts + 1
        slow = deps.policy.error_recheck if server.status is Status.ERROR else timedelta()
        return _Outcome(server.status, attempts, wait.why, max(later(deps, attempts), now + slow))
    if wait.until:
        return _Outcome(server.status, server.attempts, wait.why, wait.until)
    if server.status is Status.INITIALIZING:
        return _Outcome(server.status, server.attempts, wait.why, now + _pace(now - server.status_since))
    if wait.soon:
        return _Outcome(server.status, server.attempts, wait.why, now + min(_doubling(verdict.failures), SLOWEST_POLL))
    soon = UNKNOWN_AGAIN if server.status is Status.DEPROVISIONING else next_look(server, verdict, deps.policy)
    return _Outcome(server.status, server.attempts, wait.why, now + min(soon, UNKNOWN_AGAIN))


def _after_start(server: Server) -> timedelta:
    """The first start is watched at once; one that keeps falling over is left alone longer each time."""
    return min(_doubling(server.attempts), UNKNOWN_AGAIN)


def _doubling(times: int) -> timedelta:
    return TIGHTEST_POLL * (1 << min(times, 16))


def _pace(age: timedelta) -> timedelta:
    """A start is polled tightly at first, and at a tenth of its age later."""
    return max(TIGHTEST_POLL, age / 10)


async def _record(deps: Deps, server: Server, seen: Seen, move: Move) -> Server:
    now = deps.now()
    judged = seen.well or server.status in (Status.ACTIVE, Status.ERROR)
    verdict = assess(server, seen, deps.policy) if judged else _unjudged(server)
    outcome = _outcome(deps, server, verdict, move)
    after = _after(server, seen, verdict, outcome, now)
    async with deps.db.transaction() as conn:
        saved = await servers.save(conn, after, now)
        if saved is None:
            raise LostLease
        await _note(conn, server, saved, now)
        if saved.status is Status.GONE:
            await slots.remove_all(conn, server.id)
            await databases.forget_on(conn, server.id, reconciler(), now)
        woken = await databases.wake_on_server(conn, server.id, now) if _came_back(server, saved) else []
    _tell(deps, server, saved)
    for database_id in woken:
        deps.nudge.database(DatabaseId(database_id))
    if saved.status is Status.ACTIVE and server.status is not Status.ACTIVE:
        deps.nudge.capacity()
    return saved


def _unjudged(server: Server) -> Verdict:
    """One that is taken down is neither well nor ill any more."""
    if server.status is Status.DEPROVISIONING:
        return Verdict(Health.UNKNOWN, 0, None)
    return Verdict(server.health, server.health_failures, server.health_message)


def _after(server: Server, seen: Seen, verdict: Verdict, outcome: _Outcome, now: datetime) -> Server:
    address = seen.address or server.address
    probe = seen.probe if seen.probe and seen.probe.ok else None
    return replace(
        server,
        status=outcome.status,
        status_since=now if outcome.status is not server.status else server.status_since,
        health=verdict.health,
        health_failures=verdict.failures,
        health_message=verdict.message,
        last_health_check=now if seen.probe or verdict.health is Health.UNHEALTHY else server.last_health_check,
        host=address.host if address else None,
        port=address.port if address else None,
        postgres_version=(probe.postgres_version if probe else None) or server.postgres_version,
        facts=probe.facts if probe else server.facts,
        image=_pinned(server, seen),
        due_at=outcome.due_at,
        attempts=outcome.attempts,
        last_error=outcome.error,
    )


def _pinned(server: Server, seen: Seen) -> str | None:
    """A tag means something else tomorrow: the row gets the digest that its server runs, to be able to go back to it."""
    same = server.image and seen.image and seen.image.startswith(f"{server.image}@")
    return seen.image if same else server.image


def _came_back(before: Server, after: Server) -> bool:
    became_active = after.status is Status.ACTIVE and before.status is not Status.ACTIVE
    return became_active or (after.health is Health.HEALTHY and before.health is not Health.HEALTHY)


async def _note(conn: Conn, before: Server, after: Server, now: datetime) -> None:
    if after.status is not before.status:
        await events.append(
            conn, at=now, who=reconciler(), action=f"server.became_{after.status}", subject="server", subject_id=after.id,
            before=before.status, after=after.status, why=after.last_error,
        )  # fmt: skip
    if after.health is not before.health:
        await events.append(
            conn, at=now, who=reconciler(), action=f"server.health_{after.health}", subject="server", subject_id=after.id,
            before=before.health, after=after.health, why=after.health_message,
        )  # fmt: skip


def _tell(deps: Deps, before: Server, after: Server) -> None:
    if after.status is not before.status:
        age = (deps.now() - before.status_since).total_seconds()
        log.info("server.became", status=after.status, was=before.status, after_s=round(age, 2), error=after.last_error)
    if after.health is Health.UNHEALTHY and before.health is not Health.UNHEALTHY:
        log.warning("server.unhealthy", error=after.health_message)
    elif after.attempts > before.attempts and after.last_error:
        log.warning("server.step_failed", status=after.status, attempts=after.attempts, error=after.last_error)
