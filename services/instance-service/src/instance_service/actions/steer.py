"""Stop, start, change the plan, rotate the login, delete: what is wanted of an instance that is there."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from instance_service.deps import Deps
from instance_service.domain.errors import InstanceBusy, InstanceEnded, InstanceNotFound
from instance_service.domain.ids import InstanceId, Who
from instance_service.domain.instances import ENDED, Instance, Status, Wanted
from instance_service.domain.plans import Tier
from instance_service.store import events, instances

_FIRST_ITS_DATABASE = frozenset({Status.PENDING, Status.WAITING_FOR_DATABASE})
_IN_HAND = frozenset({Status.CHANGING_PLAN, Status.ROTATING})
_STEADY = frozenset({Status.RUNNING, Status.UNHEALTHY, Status.STOPPED})

Change = Callable[[Instance], Instance]
"""What is wanted becomes of it; the same instance where it is so already."""


async def stop(deps: Deps, instance_id: InstanceId, who: Who) -> Instance:
    """End its workload and keep its database. One whose database is still to come is not started when it is there.

    Raises InstanceNotFound, InstanceEnded.
    """

    def change(instance: Instance) -> Instance:
        wanted = replace(instance, wanted=Wanted.STOPPED)
        if instance.status in _FIRST_ITS_DATABASE | _IN_HAND | {Status.STOPPING, Status.STOPPED}:
            return wanted
        return _become(wanted, Status.STOPPING, deps.now())

    return await _steer(deps, instance_id, who, "stop_wanted", change)


async def start(deps: Deps, instance_id: InstanceId, who: Who) -> Instance:
    """Run its workload again; one in error is tried at once, with all its patience. Raises InstanceNotFound, InstanceEnded."""
    now = deps.now()

    def change(instance: Instance) -> Instance:
        wanted = replace(instance, wanted=Wanted.RUNNING)
        if instance.status not in (Status.ERROR, Status.STOPPING, Status.STOPPED):
            return wanted
        if instance.given is None:
            return _become(replace(wanted, budget_until=now + deps.policy.database_budget), Status.PENDING, now)
        return _become(wanted, Status.STARTING, now)

    return await _steer(deps, instance_id, who, "start_wanted", change)


async def change_plan(deps: Deps, instance_id: InstanceId, tier: Tier, who: Who) -> Instance:
    """Another plan for its database and its workload; one that has it, or is getting it, is left alone.

    Raises InstanceNotFound, InstanceEnded, and InstanceBusy until it has settled.
    """

    def change(instance: Instance) -> Instance:
        if instance.plan_tier is tier:
            return instance
        return _errand(replace(instance, plan_tier=tier), Status.CHANGING_PLAN, deps.now())

    return await _steer(deps, instance_id, who, "plan_wanted", change, f"{tier}")


async def rotate(deps: Deps, instance_id: InstanceId, who: Who) -> Instance:
    """A new login for its database, and its workload restarted with it; one that is being given a new one is left alone.

    Raises InstanceNotFound, InstanceEnded, and InstanceBusy until it has settled.
    """

    def change(instance: Instance) -> Instance:
        if instance.status is Status.ROTATING:
            return instance
        return _errand(instance, Status.ROTATING, deps.now())

    return await _steer(deps, instance_id, who, "rotation_wanted", change)


async def delete(deps: Deps, instance_id: InstanceId, who: Who) -> Instance:
    """In every state, and again: its workload goes, then its database is released. Raises InstanceNotFound."""

    def change(instance: Instance) -> Instance:
        left = replace(instance, errand=None, operation_id=None, progress=None)
        return _become(left, Status.DELETING, deps.now())

    return await _steer(deps, instance_id, who, "deletion_wanted", change, over_is_fine=True)


def _become(instance: Instance, status: Status, now: datetime) -> Instance:
    """Due now, and nothing of what went wrong before counts."""
    return replace(instance, status=status, status_since=now, due_at=now, attempts=0, failures=0, last_error=None)


def _errand(instance: Instance, status: Status, now: datetime) -> Instance:
    if instance.status not in _STEADY:
        raise InstanceBusy(instance.id, instance.status)
    return _become(replace(instance, errand=uuid4()), status, now)


async def _steer(
    deps: Deps,
    instance_id: InstanceId,
    who: Who,
    action: str,
    change: Change,
    why: str = "",
    *,
    over_is_fine: bool = False,
) -> Instance:
    async with deps.db.transaction() as conn:
        instance = await instances.lock(conn, instance_id)
        if instance is None:
            raise InstanceNotFound(instance_id)
        if instance.status in ENDED:
            if over_is_fine:
                return instance
            raise InstanceEnded(instance_id, instance.status)
        changed = change(instance)
        if changed == instance:
            return instance
        saved = await instances.want(conn, changed)
        await events.append(
            conn, at=deps.now(), who=who, action=f"instance.{action}", instance_id=instance_id, before=instance.status,
            after=saved.status, why=why,
        )  # fmt: skip
    deps.nudge.instance(instance_id)
    return saved
