"""One step for one instance: look at the row and the world, make one idempotent effect, record it fenced."""

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias
from uuid import UUID, uuid4

import structlog

from instance_service.deps import Deps
from instance_service.domain.databases import DatabaseSeen, Following, State
from instance_service.domain.errors import DatabaseRefused, ServiceError, Unavailable
from instance_service.domain.ids import InstanceId
from instance_service.domain.instances import (
    RESTING,
    Allocate,
    Become,
    ChangePlan,
    Ensure,
    Follow,
    Given,
    Instance,
    Move,
    Release,
    Remove,
    Rest,
    Rotate,
    Status,
    Stop,
    Wait,
    World,
    decide,
)
from instance_service.domain.wording import plain
from instance_service.domain.workloads import Presence
from instance_service.reconcilers.leasing import LostLease, later, reconciler, said, timed
from instance_service.reconcilers.looking import look
from instance_service.store import events, instances

log = structlog.get_logger(__name__)

Outcome: TypeAlias = DatabaseSeen | Following | Given | bool | None
"""What an effect told that the row does not know yet."""


async def step(deps: Deps, instance_id: InstanceId) -> Instance | None:
    """One step under a lease of its own. None: nothing is due, somebody else is at it, or it changed meanwhile."""
    token = uuid4()
    async with deps.db.connection() as conn:
        instance = await instances.claim(conn, instance_id, deps.now(), deps.policy.lease, token)
    if instance is None:
        return None
    with structlog.contextvars.bound_contextvars(instance_id=str(instance_id)):
        try:
            return await _carry_on_or_say_why(deps, instance)
        except LostLease:
            log.info("instance.changed_meanwhile")
            async with deps.db.connection() as conn:
                await instances.give_back(conn, instance_id, token)
            return None


async def _carry_on_or_say_why(deps: Deps, instance: Instance) -> Instance:
    """A defect of ours is a failure like others, with attempts and a pause: no row stands still without saying why."""
    try:
        return await _carry_on(deps, instance)
    except (LostLease, Unavailable):
        raise
    except Exception as e:
        log.exception("step.crashed")
        return await _failed(deps, instance, f"a defect: {type(e).__name__}")


async def _carry_on(deps: Deps, instance: Instance) -> Instance:
    with timed() as came_out:
        world = await look(deps, instance)
        move = decide(instance, world, deps.now(), deps.policy)
        try:
            async with asyncio.timeout(deps.policy.effect_timeout.total_seconds()):
                outcome = await _act(deps, instance, move)
        except DatabaseRefused as refused:
            came_out("refused")
            return await _refused(deps, instance, move, refused)
        except (ServiceError, TimeoutError) as e:
            came_out("failed")
            return await _failed(deps, instance, said(e))
        came_out(type(move).__name__.lower())
        return await _record(deps, instance, world, move, outcome)


# -- effects ----------------------------------------------------------------------------------------------------------


async def _act(deps: Deps, instance: Instance, move: Move) -> Outcome:
    ours, databases = str(instance.id), deps.databases
    match move:
        case Allocate():
            return await databases.allocate(ours, instance.ask.customer_id, instance.ask.plan_tier)
        case Ensure():
            return await _ensure(deps, instance)
        case Stop():
            await deps.workloads.stop(instance.id)
        case Remove():
            await deps.workloads.remove(instance.id)
        case Release():
            await databases.release(ours, "its instance was deleted")
        case ChangePlan():
            return await databases.change_plan(ours, instance.plan_tier, _errand(instance))
        case Follow(operation_id):
            return await databases.follow(operation_id)
        case Rotate():
            return await databases.rotate(ours, _errand(instance), deps.policy.rotation_overlap)
    return None


async def _ensure(deps: Deps, instance: Instance) -> Given:
    """The only place that has a password in its hands, and only for as long as this takes."""
    login = await deps.databases.login(str(instance.id))
    spec = instance.spec(login)
    await deps.workloads.ensure(spec)
    return Given(login.address, login.user, spec.version)


def _errand(instance: Instance) -> UUID:
    if instance.errand is None:
        raise LookupError(f"an instance that is {instance.status} has an errand: the table says so")
    return instance.errand


# -- recording --------------------------------------------------------------------------------------------------------


async def _record(deps: Deps, instance: Instance, world: World, move: Move, outcome: Outcome) -> Instance:
    match move, outcome:
        case Allocate(), DatabaseSeen() as database:
            return await _asked(deps, instance, database)
        case Ensure(why, failed), Given() as given:
            return await _started(deps, instance, given, why, failed)
        case Stop(), _:
            return await _become(deps, replace(instance, address=None), Status.STOPPED)
        case Remove(), _:
            return await _save(deps, instance, replace(instance, address=None), "workload_removed")
        case Release(), _:
            return await _become(deps, replace(instance, deleted_at=deps.now()), Status.DELETED)
        case ((ChangePlan() | Follow()), Following() as following):
            return await _followed(deps, instance, following)
        case Rotate(), bool() as rotated:
            return await _rotated(deps, instance, rotated)
        case Become(status, why), _:
            return await _become(deps, _as_seen(instance, world), status, why)
        case Wait(why, failed), _:
            return await _failed(deps, instance, why) if failed else await _put_off(deps, instance, why)
        case Rest(why), _:
            return await _rested(deps, _as_seen(instance, world), world, why)
    raise LookupError(f"{move} does not tell {outcome}")


async def _asked(deps: Deps, instance: Instance, database: DatabaseSeen) -> Instance:
    if database.state is State.READY:
        return await _become(deps, instance, instance.to_be)
    if instance.status is Status.ERROR:  # its budget is spent; it comes back when its database is there
        return await _put_off(deps, instance, instance.last_error or database.detail)
    return await _become(deps, instance, Status.WAITING_FOR_DATABASE, database.detail)


async def _started(deps: Deps, instance: Instance, given: Given, why: str, failed: bool) -> Instance:
    attempts = instance.attempts + 1 if failed else 0
    after = replace(instance, given=given, attempts=attempts, last_error=why if failed else None)
    if instance.status is Status.ERROR:  # looked at soon, as it may be well now; told of only if it is
        return await _write(deps, instance, replace(after, due_at=deps.now() + deps.policy.health_interval))
    return await _save(deps, instance, after, "workload_started", why)


async def _followed(deps: Deps, instance: Instance, following: Following) -> Instance:
    if not following.over:
        after = replace(
            instance, operation_id=following.operation_id, progress=following.progress, attempts=0, last_error=None
        )
        return await _save(deps, instance, after)
    if following.failed:
        return await _not_changed(deps, instance, following.failed)
    done = replace(_without_errand(instance), placed_tier=instance.plan_tier)
    return await _become(deps, done, instance.to_be, f"its plan is {instance.plan_tier} now")


async def _not_changed(deps: Deps, instance: Instance, why: str) -> Instance:
    """Its database is as it was, and so is its plan."""
    before = replace(_without_errand(instance), plan_tier=instance.placed_tier)
    return await _become(deps, before, instance.to_be, f"its plan stays {instance.placed_tier}: {why}", why)


async def _rotated(deps: Deps, instance: Instance, rotated: bool) -> Instance:
    if not rotated:
        return await _put_off(deps, instance, "its new login is being made")
    return await _become(deps, _without_errand(instance), instance.to_be, "it has a new login")


def _without_errand(instance: Instance) -> Instance:
    return replace(instance, errand=None, operation_id=None, progress=None)


async def _rested(deps: Deps, instance: Instance, world: World, why: str) -> Instance:
    """What could not be looked at is neither well nor ill."""
    ill = why and instance.status is Status.RUNNING and world.workload.presence is not Presence.UNKNOWN
    failures = instance.failures + 1 if ill else 0
    return await _save(deps, instance, replace(instance, failures=failures, attempts=0, last_error=why or None))


def _as_seen(instance: Instance, world: World) -> Instance:
    return replace(instance, address=world.workload.address or instance.address)


async def _become(
    deps: Deps, instance: Instance, status: Status, why: str = "", complaint: str | None = None
) -> Instance:
    """`complaint` is what is still to be read in the row afterwards; in ERROR and UNHEALTHY that is `why`."""
    told = why if status in (Status.ERROR, Status.UNHEALTHY) else complaint
    after = replace(instance, status=status, status_since=deps.now(), attempts=0, failures=0, last_error=told or None)
    return await _save(deps, instance, after, status.value, why)


async def _put_off(deps: Deps, instance: Instance, why: str) -> Instance:
    """Nothing failed; there is only nothing to do yet."""
    after, now = replace(instance, last_error=why or None), deps.now()
    due_at = max(_next_look(deps, after, now) or now, now + deps.policy.start_poll)
    return await _write(deps, instance, replace(after, due_at=due_at))


async def _failed(deps: Deps, instance: Instance, why: str) -> Instance:
    attempts = instance.attempts + 1
    log.warning("instance.step_failed", status=instance.status, attempts=attempts, error=why)
    after = replace(instance, attempts=attempts, last_error=why, due_at=later(deps, attempts))
    return await _write(deps, instance, after)


async def _refused(deps: Deps, instance: Instance, move: Move, refused: DatabaseRefused) -> Instance:
    """What would be refused again is not asked again; the instance is what it was, or says why it cannot be."""
    why = said(refused)
    match move:
        case Allocate() if instance.status is not Status.ERROR:
            return await _become(deps, instance, Status.ERROR, why)
        case ChangePlan() | Follow():
            return await _not_changed(deps, instance, why)
        case Rotate():
            return await _become(deps, _without_errand(instance), instance.to_be, f"it keeps its login: {why}", why)
    return await _failed(deps, instance, why)


async def _save(deps: Deps, before: Instance, after: Instance, action: str = "", why: str = "") -> Instance:
    return await _write(deps, before, replace(after, due_at=_next_look(deps, after, deps.now())), action, why)


async def _write(deps: Deps, before: Instance, after: Instance, action: str = "", why: str = "") -> Instance:
    told = replace(after, last_error=after.last_error and plain(after.last_error))
    async with deps.db.transaction() as conn:
        saved = await instances.save(conn, told)
        if saved is None:
            raise LostLease
        if action:
            await events.append(
                conn, at=deps.now(), who=reconciler(), action=f"instance.{action}", instance_id=saved.id,
                before=before.status, after=saved.status, why=plain(why),
            )  # fmt: skip
    return saved


def _next_look(deps: Deps, instance: Instance, now: datetime) -> datetime | None:
    """When this row is to be looked at next, if nothing happens to it before."""
    policy = deps.policy
    if instance.status in RESTING:
        return None
    match instance.status:
        case Status.WAITING_FOR_DATABASE:
            return _ask_again(deps, instance, now)
        case Status.STARTING if instance.given:
            return now + policy.start_poll
        case Status.RUNNING:
            return now + (policy.unhealthy_interval if instance.failures else policy.health_interval)
        case Status.UNHEALTHY:
            return now + policy.unhealthy_interval
        case Status.CHANGING_PLAN if instance.operation_id:
            return now + policy.operation_poll
        case Status.ERROR:
            return now + policy.error_recheck
        case _:
            return now


def _ask_again(deps: Deps, instance: Instance, now: datetime) -> datetime:
    """Ever more seldom the longer it has waited: who follows it hears of its database at once."""
    policy = deps.policy
    pause = min(max((now - instance.status_since) / 4, policy.database_poll), policy.backoff_most)
    return min(now + pause, max(instance.budget_until, now))
