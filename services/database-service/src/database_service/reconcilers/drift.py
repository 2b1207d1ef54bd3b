"""Drift: compare the world with its rows, record what differs, and remove what was confirmed, looked at once more."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from database_service.deps import Deps
from database_service.domain.drift import (
    Drift,
    Finding,
    Inside,
    Kind,
    Looked,
    Refuse,
    Servers,
    Settle,
    Take,
    compare_inside,
    compare_servers,
    decide,
    of_server,
    settled,
)
from database_service.domain.errors import ProvisioningFailed, ServiceError, TenantServerUnavailable
from database_service.domain.ids import DriftId, ServerId
from database_service.domain.servers import Found, Health, Server, Status
from database_service.provisioners.base import Provisioner
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.capacity import in_parallel
from database_service.reconcilers.leasing import LostLease, give_back, later, new_token, reconciler, said, timed
from database_service.reconcilers.servers import spec_of
from database_service.store import drift, events, leases
from database_service.store.drift import Unlooked
from database_service.store.pool import Conn

log = structlog.get_logger(__name__)

LOOK_PATIENCE = timedelta(seconds=20)
"""For one provisioner's list, and for each look at or into one server."""
MOST_AT_ONCE = 100
MIB = 1024**2


async def step(deps: Deps) -> None:
    """What is due: confirmed removals, and a look if somebody asked for one."""
    await remove_confirmed(deps)
    async with deps.db.connection() as conn:
        wanted = await drift.look_is_wanted(conn)
    if wanted:
        await find_drift(deps)


# -- finding ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Look:
    """What a look has seen so far, and where it could not look."""

    findings: list[Finding] = field(default_factory=list)
    unlooked: list[Unlooked] = field(default_factory=list)
    provisioners: set[str] = field(default_factory=set)
    compared: set[ServerId] = field(default_factory=set)
    inside: dict[ServerId, frozenset[str]] = field(default_factory=dict)

    def blind(self, where: str, error: BaseException) -> None:
        self.unlooked.append(Unlooked(where, said(error)))


async def find_drift(deps: Deps) -> int:
    """Look at everything once and record what differs, and what no longer does; returns how much was found.

    What cannot be looked at in time holds up nothing else, and keeps its earlier findings.
    """
    began, look = deps.now(), _Look()
    with timed("drift") as came_out:
        before = await _live(deps)
        listed = await _list_all(deps, look)
        after = await _live(deps)
        look.findings += compare_servers(before, after, listed, await _wanted(deps, listed, after))
        rows = settled(before, after)
        await in_parallel(deps, rows, lambda row: _compare(deps, look, row))
        await in_parallel(deps, list(after.values()), lambda row: _look_into(deps, look, row))
        new = await _record(deps, look, began, frozenset(after))
        came_out("found" if look.findings else "clean")
    if new or look.unlooked:
        log.warning("drift.found", new=new, there=len(look.findings), not_looked_at=len(look.unlooked))
    return len(look.findings)


async def _live(deps: Deps) -> Servers:
    async with deps.db.connection() as conn:
        return await drift.live_servers(conn)


async def _wanted(deps: Deps, listed: Mapping[str, Sequence[Found]], live: Servers) -> frozenset[ServerId]:
    strays = [thing.id for found in listed.values() for thing in found if thing.id not in live]
    async with deps.db.connection() as conn:
        return await drift.wanted(conn, strays)


async def _list_all(deps: Deps, look: _Look) -> Mapping[str, Sequence[Found]]:
    """Every provisioner at once; one that does not answer is left out."""
    listed: dict[str, Sequence[Found]] = {}

    async def one(name: str) -> None:
        try:
            listed[name] = await _list(deps, name)
            look.provisioners.add(name)
        except (ServiceError, OSError) as e:
            look.blind(f"provisioner {name}", e)

    await in_parallel(deps, sorted(deps.provisioners), one)
    return listed


async def _list(deps: Deps, provisioner: str) -> Sequence[Found]:
    async with asyncio.timeout(LOOK_PATIENCE.total_seconds()):
        return await _provisioner(deps, provisioner).list_ours()


def _provisioner(deps: Deps, name: str) -> Provisioner:
    if name not in deps.provisioners:
        raise ProvisioningFailed(f"There is no provisioner {name!r} here.")
    return deps.provisioners[name]


async def _compare(deps: Deps, look: _Look, server: Server) -> None:
    """Whether it runs as its row says; where its provisioner does not answer, that was said already."""
    if server.status is not Status.ACTIVE or server.provisioner not in look.provisioners:
        return
    try:
        async with asyncio.timeout(LOOK_PATIENCE.total_seconds()):
            told = await _provisioner(deps, server.provisioner).differences(spec_of(deps, server))
    except (ServiceError, OSError) as e:
        look.blind(f"settings of server {server.name}", e)
        return
    look.compared.add(server.id)
    if told:
        look.findings.append(of_server(Kind.SERVER_DIFFERS, server, told))


async def _look_into(deps: Deps, look: _Look, server: Server) -> None:
    if server.status not in (Status.ACTIVE, Status.ERROR):
        return  # being made or removed
    try:
        inside = await _inside(deps, server)
    except (ServiceError, TimeoutError) as e:
        look.blind(f"server {server.name}", e)
        return
    look.inside[server.id] = inside.doubtful
    look.findings += inside.findings


async def _inside(deps: Deps, server: Server) -> Inside:
    """What is inside a server that answers. TenantServerUnavailable where it is known not to."""
    if server.status is not Status.ACTIVE or server.health is Health.UNHEALTHY:
        word = server.status if server.status is not Status.ACTIVE else server.health
        raise TenantServerUnavailable(f"It is {word}: {server.health_message or server.last_error or 'not told why'}.")
    admin = admin_of(deps, server)
    async with deps.db.connection() as conn:
        before = await drift.tenants(conn, server.id, deps.now())
    async with asyncio.timeout(LOOK_PATIENCE.total_seconds()):
        ours = await deps.tenants.ours(admin)
    async with deps.db.connection() as conn:
        after = await drift.tenants(conn, server.id, deps.now())
        elsewhere = await drift.known_roles(conn, [role.name for role in ours.roles])
    inside = compare_inside(server, before, after, elsewhere, ours)
    return replace(inside, findings=await _measured(deps, server, inside.findings))


async def _measured(deps: Deps, server: Server, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Stray databases with their sizes: who is asked to remove one wants to know what is in it."""
    strays = [finding.thing for finding in findings if finding.kind is Kind.DATABASE_WITHOUT_ROW]
    if not strays:
        return tuple(findings)
    async with asyncio.timeout(LOOK_PATIENCE.total_seconds()):
        sizes = await deps.tenants.sizes(admin_of(deps, server), strays)
    return tuple(
        replace(finding, remark=f"{sizes[finding.thing] / MIB:.1f} MiB")
        if finding.kind is Kind.DATABASE_WITHOUT_ROW and finding.thing in sizes
        else finding
        for finding in findings
    )


async def _record(deps: Deps, look: _Look, began: datetime, live: frozenset[ServerId]) -> int:
    """Returns how much is new. The look is noted first: two who record wait for each other there, and nowhere else."""
    now, who = deps.now(), reconciler()
    found = {finding.key for finding in look.findings}
    looked = Looked(frozenset(look.provisioners), frozenset(look.compared), look.inside, live)
    async with deps.db.transaction() as conn:
        await drift.note_look(conn, began, now, sorted(look.unlooked, key=lambda place: place.where))
        new = await drift.record(conn, look.findings, began, now, who)
        healed = [
            row.id
            for row in await drift.there(conn)
            if row.finding.key not in found and looked.vouches_for(row.finding)
        ]
        await drift.heal(conn, healed, began, now, who)
    return new


# -- removing ---------------------------------------------------------------------------------------------------------


async def remove_confirmed(deps: Deps) -> int:
    """One step for every removal that is due; returns how many were."""
    async with deps.db.connection() as conn:
        due = await leases.due(conn, "drift", deps.now(), MOST_AT_ONCE)
    await in_parallel(deps, due, lambda row_id: remove(deps, DriftId(row_id)))
    return len(due)


async def remove(deps: Deps, drift_id: DriftId) -> None:
    """One step of one confirmed removal, under a lease of its own."""
    token = new_token()
    async with deps.db.connection() as conn:
        row = await drift.claim(conn, drift_id, deps.now(), deps.policy.lease, token)
    if row is None:
        return
    with structlog.contextvars.bound_contextvars(drift_id=str(drift_id)), timed("drift_removal") as came_out:
        try:
            async with asyncio.timeout(deps.policy.effect_timeout.total_seconds()):
                came_out(await _settle(deps, row, token))
        except (ServiceError, OSError) as e:
            await _put_off(deps, row, token, e)
            came_out("failed")
        except LostLease:
            log.info("drift.changed_meanwhile")
            await give_back(deps, "drift", drift_id, token)


async def _settle(deps: Deps, row: Drift, token: UUID) -> str:
    """Look again, then do what is right now; returns the name of what came out."""
    again = await _look_again(deps, row.finding)
    match decide(row, again, deps.now(), deps.policy):
        case Settle():
            await _end(deps, row, token, begun=row.begun_at is not None)
            return "settled"
        case Refuse(why):
            await _refuse(deps, row, token, why)
            return "refused"
        case Take(finding):
            async with deps.db.connection() as conn:
                if not await drift.begin(conn, row.id, token, deps.now()):
                    raise LostLease
            await _take_away(deps, finding)
            await _end(deps, row, token, begun=True)
            return "removed"


async def _look_again(deps: Deps, finding: Finding) -> Finding | None:
    """The same thing, if it still is there, ours, and without a row. ServiceError where that cannot be seen."""
    before = await _live(deps)
    if finding.kind is Kind.SERVER_WITHOUT_ROW:
        listed = {finding.provisioner: await _list(deps, finding.provisioner)}
        after = await _live(deps)
        seen: Sequence[Finding] = compare_servers(before, after, listed, await _wanted(deps, listed, after))
    elif server := before.get(finding.server_id):
        seen = (await _inside(deps, server)).findings
    else:
        seen = ()  # it went with its server
    return next((other for other in seen if other.key == finding.key), None)


async def _take_away(deps: Deps, finding: Finding) -> None:
    if finding.kind is Kind.SERVER_WITHOUT_ROW:
        await _provisioner(deps, finding.provisioner).remove(finding.server_id, keep_data=False)
        return
    admin = admin_of(deps, (await _live(deps))[finding.server_id])
    if finding.oid is None:
        raise LookupError(f"{finding.kind} {finding.thing} has no oid")
    drop = (
        deps.tenants.drop_stray_database if finding.kind is Kind.DATABASE_WITHOUT_ROW else deps.tenants.drop_stray_role
    )
    await drop(admin, finding.thing, finding.oid)


async def _end(deps: Deps, row: Drift, token: UUID, *, begun: bool) -> None:
    now = deps.now()
    async with deps.db.transaction() as conn:
        if not await drift.end(conn, row.id, token, now):
            raise LostLease
        told = "; ".join(row.finding.told)
        await _note(conn, row, now, action="drift.removed" if begun else "drift.gone", why=told)
    log.info("drift.ended", removed=begun, kind=row.finding.kind, told=told)


async def _refuse(deps: Deps, row: Drift, token: UUID, why: str) -> None:
    async with deps.db.transaction() as conn:
        if not await drift.refuse(conn, row.id, token, why):
            raise LostLease
        await _note(conn, row, deps.now(), action="drift.removal_refused", why=why)
    log.warning("drift.removal_refused", kind=row.finding.kind, error=why)


async def _put_off(deps: Deps, row: Drift, token: UUID, error: ServiceError | OSError) -> None:
    log.warning("drift.removal_failed", attempts=row.attempts + 1, error=said(error))
    async with deps.db.connection() as conn:
        await drift.put_off(conn, row.id, token, said(error), later(deps, row.attempts + 1))


async def _note(conn: Conn, row: Drift, now: datetime, *, action: str, why: str) -> None:
    await events.append(
        conn, at=now, who=reconciler(), action=action, subject="drift", subject_id=row.id,
        before=row.finding.kind, why=why,
    )  # fmt: skip
