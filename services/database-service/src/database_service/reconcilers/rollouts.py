"""Rollout: image, memory, CPUs, slots or TLS of several servers, one at a time, each really well before the next."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta

import structlog

from database_service.deps import Deps
from database_service.domain.errors import ProvisioningFailed, ServerNotActive, ServiceError
from database_service.domain.ids import ServerId
from database_service.domain.operations import (
    Done,
    GiveUp,
    Hold,
    Operation,
    Sight,
    Step,
    StepState,
    Target,
    TurnBack,
    Values,
    Verdict,
    judge,
    major_of,
)
from database_service.domain.servers import Health, Server, Status
from database_service.reconcilers import certifying, progress, slotting
from database_service.reconcilers import servers as server_steps
from database_service.reconcilers.leasing import LostLease, reconciler, said
from database_service.store import events, operations, servers, tls
from database_service.store.pool import Conn

log = structlog.get_logger(__name__)

LOOK_TIMEOUT = timedelta(seconds=10)
EXPECTED_DOWN = "it is being restarted with other settings"


class Rollout:
    """The work of kind `rollout`."""

    async def prepare(self, deps: Deps, operation: Operation, steps: Sequence[Step]) -> Target:
        """Finds the image, once, and pins it. ProvisioningFailed where it is not to be had or is of another major version."""
        target = operation.target
        if target.image is None:
            return target
        async with deps.db.connection() as conn:
            chosen = [server for step in steps if (server := await servers.get(conn, ServerId(step.subject_id)))]
        if not chosen:
            return target
        image = await server_steps.provisioner_of(deps, chosen[0]).look_up(target.image)
        for server in chosen:
            _refuse_other_major(server, target.image, image.major)
        return replace(target, pinned=image.reference)

    async def begin(self, deps: Deps, operation: Operation, step: Step) -> Operation:
        server = await progress.subject(deps, step)
        if server.status in progress.LEAVING:
            return await progress.record(deps, operation, step.become(StepState.SKIPPED, deps.now(), progress.NOBODYS))
        try:
            if await _is_as_wanted(deps, server, operation.target):
                return await progress.record(deps, operation, step.become(StepState.SKIPPED, deps.now()))
            return await _begin(deps, operation, step)
        except (ServiceError, TimeoutError) as e:
            return await progress.record(deps, operation, step.become(StepState.FAILED, deps.now(), said(e)))

    async def carry(self, deps: Deps, operation: Operation, step: Step) -> Operation:
        step = progress.watched(deps, operation, step)
        async with progress.alone_with(deps, ServerId(step.subject_id)) as server:
            made = await _make_so(deps, operation, step, server) if server else None
        if made is None:
            return await _without_it(deps, operation, step)
        if not made.differs:
            await server_steps.step(deps, ServerId(step.subject_id))
        sight = Sight(await progress.subject(deps, step), made.differs, made.refused, made.trouble)
        return await _conclude(deps, operation, made.step, sight)


def _refuse_other_major(server: Server, image: str, major: int) -> None:
    if server.postgres_version and major_of(server.postgres_version) != major:
        raise ProvisioningFailed(
            f"The image {image} is PostgreSQL {major}, but the data of server {server.name} was made by PostgreSQL "
            f"{server.postgres_version}: another major version cannot read it."
        )


# -- begin ------------------------------------------------------------------------------------------------------------


async def _is_as_wanted(deps: Deps, server: Server, target: Target) -> bool:
    values, healthy = Values.of(server), server.health is Health.HEALTHY
    return target.over(values) == values and healthy and not await _differences(deps, server)


async def _begin(deps: Deps, operation: Operation, step: Step) -> Operation:
    """Slots that go are gone before the server gets smaller; those that come are added when it has proved itself."""
    async with deps.db.transaction() as conn:
        await progress.fence(conn, operation)
        server = await progress.locked_subject(conn, step)
        if server.status is not Status.ACTIVE:
            raise ServerNotActive(server.name, server.status)
        before = Values.of(server)
        wanted = operation.target.over(before)
        if wanted.max_instances < before.max_instances:
            await slotting.clear(conn, server, wanted.max_instances)
        await _change(conn, deps, server, wanted, action="server.changed")
        begun = replace(step.become(StepState.RUNNING, deps.now()), before=before)
        return await progress.record_in(conn, deps, operation, begun)


async def _change(
    conn: Conn, deps: Deps, server: Server, wanted: Values, *, action: str, why: str | None = None
) -> None:
    await servers.change(conn, server.id, wanted, deps.now())
    if wanted.tls:
        await certifying.equip(conn, deps, server)
    else:
        await tls.strip(conn, server.id)
    await events.append(
        conn, at=deps.now(), who=reconciler(), action=action, subject="server", subject_id=server.id,
        before=server.status, after=server.status, why=why or _told(Values.of(server), wanted),
    )  # fmt: skip


def _told(before: Values, after: Values) -> str:
    changes = ((field.name, getattr(before, field.name), getattr(after, field.name)) for field in fields(Values))
    return ", ".join(f"{name} was {old}, is {new}" for name, old, new in changes if old != new) or "as its row says"


# -- carry ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Made:
    """What came of making a server as its row says: what had to be changed, and why that did not work."""

    step: Step
    differs: Sequence[str] = ()
    refused: str | None = None
    trouble: str | None = None


async def _make_so(deps: Deps, operation: Operation, step: Step, server: Server) -> _Made:
    try:
        differs = await _differences(deps, server)
    except (ServiceError, TimeoutError) as e:
        return _Made(step, trouble=said(e))
    if not differs:
        return _Made(step)
    noted = await _expect_down(deps, operation, step, server)
    try:
        async with asyncio.timeout(deps.policy.effect_timeout.total_seconds()):
            await server_steps.provisioner_of(deps, server).ensure(server_steps.spec_of(deps, server))
    except ServiceError as e:
        return _Made(noted, differs, refused=said(e))
    except TimeoutError as e:
        return _Made(noted, differs, trouble=said(e))
    return _Made(noted, differs)


async def _expect_down(deps: Deps, operation: Operation, step: Step, server: Server) -> Step:
    """It takes no databases from now on, and we know afterwards the old one from the new. Raises LostLease."""
    seen = await server_steps.look(deps, server)
    started_at = seen.probe.facts.get("started_at") if seen.probe else None
    noted = replace(step, seen_before=str(started_at) if started_at else step.seen_before)
    async with deps.db.transaction() as conn:
        await progress.fence(conn, operation)
        await operations.save_step(conn, noted)
        if await servers.expect_down(conn, server.id, server.version, EXPECTED_DOWN) is None:
            raise LostLease
        if server.health is not Health.UNHEALTHY:
            await events.append(
                conn, at=deps.now(), who=reconciler(), action="server.health_unhealthy", subject="server",
                subject_id=server.id, before=server.health, after=Health.UNHEALTHY, why=EXPECTED_DOWN,
            )  # fmt: skip
    return noted


async def _differences(deps: Deps, server: Server) -> Sequence[str]:
    async with asyncio.timeout(LOOK_TIMEOUT.total_seconds()):
        return await server_steps.provisioner_of(deps, server).differences(server_steps.spec_of(deps, server))


async def _without_it(deps: Deps, operation: Operation, step: Step) -> Operation:
    server = await progress.subject(deps, step)
    if server.status in progress.LEAVING:
        return await progress.record(deps, operation, step.become(StepState.SKIPPED, deps.now(), progress.NOBODYS))
    return await progress.hold(deps, operation, step, progress.IN_THE_WAY)


# -- conclude ---------------------------------------------------------------------------------------------------------


async def _conclude(deps: Deps, operation: Operation, step: Step, sight: Sight) -> Operation:
    verdict = judge(step, sight, deps.now(), deps.policy)
    if isinstance(verdict, Hold):
        return await progress.hold(deps, operation, step, verdict.why)
    if isinstance(verdict, TurnBack):
        log.warning("rollout.turned_back", server_id=str(step.subject_id), error=verdict.why)
    async with deps.db.transaction() as conn:
        await progress.fence(conn, operation)
        server = await progress.locked_subject(conn, step)
        over = await _settle(conn, deps, step, server, verdict)
        moved = await progress.record_in(conn, deps, operation, over)
    deps.nudge.capacity()  # who waits for room may find some now
    return moved


async def _settle(conn: Conn, deps: Deps, step: Step, server: Server, verdict: Verdict) -> Step:
    """The rows of the server as the verdict wants them; the step as it is then."""
    if isinstance(verdict, TurnBack) and step.before and server.status not in progress.LEAVING:
        await _change(conn, deps, server, step.before, action="server.put_back", why=verdict.why)
        return step.become(StepState.UNDOING, deps.now(), verdict.why)
    if server.status not in progress.LEAVING:
        await slotting.furnish(conn, deps, server)
    match verdict:
        case Done() if step.state is StepState.RUNNING:
            return step.become(StepState.SUCCEEDED, deps.now())
        case GiveUp(why) | TurnBack(why):
            return step.become(StepState.FAILED, deps.now(), why)
        case _:
            return step.become(StepState.FAILED, deps.now())
