"""Tenant databases: what instances' services ask for."""

from datetime import timedelta
from math import ceil
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from database_service.actions.allocate import allocate as allocate_database
from database_service.actions.allocate import provision_dedicated as order_dedicated
from database_service.actions.await_database import wait_for
from database_service.actions.credentials import credentials as read_credentials
from database_service.actions.release import protect as protect_database
from database_service.actions.release import release as release_database
from database_service.actions.release import undelete as undelete_database
from database_service.actions.rotate import rotate as rotate_credentials
from database_service.api.credentials import TEXTS, Format
from database_service.api.direct import Direct
from database_service.api.inject import DatabasesReader, DatabasesWriter, OwnDatabasesWriter, SecretsReader, Use
from database_service.api.rendering import NO_STORE, answer
from database_service.api.schemas.common import IdempotencyKey, InstancePath, Line
from database_service.api.schemas.databases import (
    AllocateIn,
    AllocationOut,
    CredentialsOut,
    DatabaseChangeOut,
    DatabaseOut,
    DedicatedOut,
    PendingOut,
    ProtectIn,
    ProvisionDedicatedIn,
    RotateIn,
    RotationOut,
)
from database_service.api.waiting import Prefer, Wait, applied, capped, preferred_wait
from database_service.auth import ownership
from database_service.domain.answers import Allocation, Pending
from database_service.domain.ids import CustomerId, InstanceId, ServerId
from database_service.views import databases as view

PREFIX = "/api/database"
WhileOn = Annotated[
    UUID | None,
    Query(description="With `wait`: a `db_server_id`; answers once it is ready on another server than that."),
]
router = APIRouter(prefix=PREFIX, tags=["databases"])


async def allocate(wanted: AllocateIn, asked: OwnDatabasesWriter, deps: Use, prefer: Prefer = None) -> Response:
    """A database for this instance: 200 with credentials, or 202 when it takes longer. The same request gives the same answer."""
    await ownership.of_ask(deps, asked.caller, wanted.customer_id, wanted.instance_id)
    wait = preferred_wait(deps, prefer)
    return _allocation(await allocate_database(deps, wanted.ask(), asked.who, wait=wait), applied(wait))


router.add_api_route(
    "/allocate",
    allocate,
    methods=["POST"],
    responses={200: {"model": AllocationOut}, 202: {"model": PendingOut}},
    route_class_override=Direct,
)


@router.post("/provision-dedicated", responses={200: {"model": DedicatedOut}, 202: {"model": DedicatedOut}})
async def provision_dedicated(wanted: ProvisionDedicatedIn, asked: OwnDatabasesWriter, deps: Use) -> Response:
    """A dedicated server for this instance: 200 when it is there, else 202. The same request again tells how far it is."""
    await ownership.of_ask(deps, asked.caller, wanted.customer_id, wanted.instance_id)
    server = await order_dedicated(
        deps, InstanceId(wanted.instance_id), CustomerId(wanted.customer_id), wanted.plan_tier, asked.who
    )
    ordered = DedicatedOut.of(server, ceil(deps.policy.retry_after.total_seconds()))
    if ordered.status == "provisioned":
        return answer(ordered)
    return answer(ordered, 202, {"Retry-After": str(ordered.retry_after)})


@router.get("/databases/{instance_id}", responses={200: {"model": DatabaseOut}})
async def status(
    instance_id: InstancePath, asked: DatabasesReader, deps: Use, wait: Wait = 0, while_on: WhileOn = None
) -> Response:
    """Status, server, plan and limits; no secrets. With `wait` it answers once it is ready, or when the time is up."""
    if wait:
        on = ServerId(while_on) if while_on else None
        await wait_for(deps, InstanceId(instance_id), capped(deps, wait), while_on=on)
    return answer(DatabaseOut.of(await view.status(deps, InstanceId(instance_id), asked.caller.customer_id)))


@router.get(
    "/databases/{instance_id}/credentials",
    responses={200: {"model": CredentialsOut, "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def credentials(
    instance_id: InstancePath,
    asked: SecretsReader,
    deps: Use,
    how: Annotated[Format, Query(alias="format")] = Format.JSON,
) -> Response:
    """The newest credentials, as JSON or as text for a client. Each read leaves an event."""
    found = await read_credentials(deps, InstanceId(instance_id), asked.who)
    if how is Format.JSON:
        return answer(CredentialsOut.of(found), headers=NO_STORE)
    return Response(TEXTS[how](found.credentials) + "\n", headers=NO_STORE, media_type="text/plain")


@router.post("/databases/{instance_id}/rotate", responses={200: {"model": RotationOut}, 202: {"model": PendingOut}})
async def rotate(
    instance_id: InstancePath,
    asked: DatabasesWriter,
    deps: Use,
    wanted: RotateIn = RotateIn(),  # noqa: B008  it is frozen
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """A new login, which works at once; those before it stay valid until they expire."""
    overlap = timedelta(seconds=wanted.overlap_seconds) if wanted.overlap_seconds is not None else None
    rotated = await rotate_credentials(
        deps, InstanceId(instance_id), asked.who, overlap=overlap, request_key=idempotency_key
    )
    if isinstance(rotated, Pending):
        return _pending(rotated)
    now = await view.status(deps, InstanceId(instance_id))
    return answer(RotationOut.after(rotated, now.logins), headers=NO_STORE)


@router.delete("/databases/{instance_id}", status_code=202, responses={202: {"model": DatabaseChangeOut}})
async def release(
    instance_id: InstancePath, asked: DatabasesWriter, deps: Use, why: Annotated[Line | None, Query()] = None
) -> Response:
    """Close the door; the data is kept for the plan's grace and can be undeleted until `purge_after`."""
    return answer(DatabaseChangeOut.of(await release_database(deps, InstanceId(instance_id), asked.who, why=why)), 202)


@router.post("/databases/{instance_id}/undelete", responses={200: {"model": AllocationOut}, 202: {"model": PendingOut}})
async def undelete(instance_id: InstancePath, asked: DatabasesWriter, deps: Use) -> Response:
    """Take a released database back, with its data and its credentials."""
    return _allocation(await undelete_database(deps, InstanceId(instance_id), asked.who))


@router.post("/databases/{instance_id}/protection", responses={200: {"model": DatabaseChangeOut}})
async def protect(instance_id: InstancePath, wanted: ProtectIn, asked: DatabasesWriter, deps: Use) -> Response:
    """Protect it against deletion, or lift that protection."""
    return answer(
        DatabaseChangeOut.of(await protect_database(deps, InstanceId(instance_id), wanted.protected, asked.who))
    )


def _allocation(allocated: Allocation | Pending, headers: dict[str, str] | None = None) -> Response:
    if isinstance(allocated, Pending):
        return _pending(allocated, headers)
    return answer(AllocationOut.of(allocated), headers=NO_STORE | (headers or {}))


def _pending(pending: Pending, headers: dict[str, str] | None = None) -> Response:
    waiting = PendingOut.of(pending)
    where = {"Retry-After": str(waiting.retry_after), "Location": f"{PREFIX}/databases/{pending.instance_id}"}
    return answer(waiting, 202, where | (headers or {}))
