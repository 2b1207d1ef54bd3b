"""Create an instance: a row that is due now."""

from uuid import uuid4

from instance_service.deps import Deps
from instance_service.domain.errors import InstanceBusy, InstanceDiffers, InstanceEnded, InvalidField, Unavailable
from instance_service.domain.ids import InstanceId, Who
from instance_service.domain.instances import ENDED, Ask, Instance
from instance_service.store import events, instances
from instance_service.store.pool import Conn

RACES = 3
"""Attempts of one request to get past others for the same name."""


async def create(deps: Deps, ask: Ask, who: Who, *, request_key: str | None = None) -> Instance:
    """The instance that was asked for; asked again, by name or by `request_key`, the same one.

    Raises InstanceDiffers where another one was asked for before, InstanceBusy while one of this name is being deleted, and
    InstanceEnded where `request_key` is that of one that was deleted. InvalidField for an image where none can be run.
    """
    if ask.image is not None and not deps.workloads.runs_images:
        raise InvalidField("image", "workloads are processes of this machine here, which run a command and no image")
    for _ in range(RACES):
        try:
            async with deps.db.transaction() as conn:
                instance = await _existing(conn, ask, request_key) or await _new(conn, deps, ask, who, request_key)
        except instances.AlreadyThere:
            continue
        deps.nudge.provision(instance.id)
        return instance
    raise Unavailable(f"Too many requests race for instance {ask.name!r}; ask again.")


async def _existing(conn: Conn, ask: Ask, request_key: str | None) -> Instance | None:
    """One that is on its way out is nobody's answer: its name is free once it is gone, its key never again."""
    keyed = await instances.of_key(conn, request_key) if request_key else None
    there = keyed or await instances.of_name(conn, ask.customer_id, ask.name)
    if there and there.status in ENDED:
        raise InstanceEnded(there.id, there.status) if keyed else InstanceBusy(there.id, there.status)
    if there and (differences := ask.differences(there.ask)):
        raise InstanceDiffers(there.id, differences)
    return there


async def _new(conn: Conn, deps: Deps, ask: Ask, who: Who, request_key: str | None) -> Instance:
    now = deps.now()
    instance = await instances.insert(
        conn,
        instance_id=InstanceId(uuid4()),
        ask=ask,
        budget_until=now + deps.policy.database_budget,
        request_key=request_key,
        now=now,
    )
    await events.append(
        conn, at=now, who=who, action="instance.asked_for", instance_id=instance.id, after=instance.status
    )
    return instance
