"""Instances: created, looked at, steered, deleted."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from instance_service.actions import steer
from instance_service.actions.await_instance import wait_for
from instance_service.actions.create import create as create_instance
from instance_service.api.inject import Asked, Use
from instance_service.api.paging import Cursor, Limit, position_of
from instance_service.api.rendering import answer
from instance_service.api.schemas.common import CallerId, IdempotencyKey, Wait
from instance_service.api.schemas.instances import EventsOut, InstanceIn, InstanceOut, InstancesOut, PlanIn
from instance_service.domain.ids import InstanceId
from instance_service.domain.instances import Instance, Status
from instance_service.views import events as event_view
from instance_service.views import instances as view

PREFIX = "/api/instances"
router = APIRouter(prefix=PREFIX, tags=["instances"])


@router.post("", status_code=202, responses={202: {"model": InstanceOut}})
async def create(wanted: InstanceIn, asked: Asked, deps: Use, idempotency_key: IdempotencyKey = None) -> Response:
    """An instance with a database of its own. The same request, or the same key, gives the same one; another one is 409."""
    return _accepted(await create_instance(deps, wanted.ask(), asked, request_key=idempotency_key))


@router.get("", responses={200: {"model": InstancesOut}})
async def instances(
    asked: Asked,
    deps: Use,
    customer_id: Annotated[CallerId | None, Query()] = None,
    status: Annotated[Status | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """The newest first; deleted ones only where that status is asked for."""
    before = position_of(cursor) if cursor is not None else view.NEWEST
    return answer(
        InstancesOut.of(await view.page(deps, customer_id=customer_id, status=status, before=before, limit=limit))
    )


@router.get("/{instance_id:uuid}", responses={200: {"model": InstanceOut}})
async def instance(instance_id: UUID, asked: Asked, deps: Use, wait: Wait = 0) -> Response:
    """One instance. With `wait` it answers once it has settled (running, stopped, error …), or when the time is up."""
    if wait:
        await wait_for(deps, InstanceId(instance_id), timedelta(seconds=wait))
    return answer(InstanceOut.of(await view.one(deps, InstanceId(instance_id))))


@router.get("/{instance_id:uuid}/events", responses={200: {"model": EventsOut}})
async def events(instance_id: UUID, asked: Asked, deps: Use, cursor: Cursor = None, limit: Limit = 50) -> Response:
    """What happened to it, the newest first."""
    before = position_of(cursor) if cursor is not None else event_view.NEWEST
    await view.one(deps, InstanceId(instance_id))
    return answer(EventsOut.of(await event_view.page(deps, InstanceId(instance_id), before, limit)))


@router.post("/{instance_id:uuid}/stop", status_code=202, responses={202: {"model": InstanceOut}})
async def stop(instance_id: UUID, asked: Asked, deps: Use) -> Response:
    """End its workload; its database stays."""
    return _accepted(await steer.stop(deps, InstanceId(instance_id), asked))


@router.post("/{instance_id:uuid}/start", status_code=202, responses={202: {"model": InstanceOut}})
async def start(instance_id: UUID, asked: Asked, deps: Use) -> Response:
    """Run its workload again; one in error is tried at once."""
    return _accepted(await steer.start(deps, InstanceId(instance_id), asked))


@router.post("/{instance_id:uuid}/change-plan", status_code=202, responses={202: {"model": InstanceOut}})
async def change_plan(instance_id: UUID, wanted: PlanIn, asked: Asked, deps: Use) -> Response:
    """Another plan; its database may be moved for it, and its workload is restarted. `progress` tells how far that is."""
    return _accepted(await steer.change_plan(deps, InstanceId(instance_id), wanted.plan_tier, asked))


@router.post("/{instance_id:uuid}/rotate-credentials", status_code=202, responses={202: {"model": InstanceOut}})
async def rotate_credentials(instance_id: UUID, asked: Asked, deps: Use) -> Response:
    """A new login for its database, and its workload restarted with it; the one before works on for the overlap."""
    return _accepted(await steer.rotate(deps, InstanceId(instance_id), asked))


@router.delete("/{instance_id:uuid}", status_code=202, responses={202: {"model": InstanceOut}})
async def delete(instance_id: UUID, asked: Asked, deps: Use) -> Response:
    """End it, in whatever state it is. Its database is released, and kept by database-service for the plan's grace."""
    return _accepted(await steer.delete(deps, InstanceId(instance_id), asked))


def _accepted(found: Instance) -> Response:
    return answer(InstanceOut.of(found), 202, {"Location": f"{PREFIX}/{found.id}"})
