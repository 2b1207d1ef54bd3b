"""Operations: long work that callers follow and steer."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from database_service.actions import steer_operation
from database_service.actions.await_operation import wait_for
from database_service.actions.move_databases import roll_back
from database_service.actions.try_again import try_again
from database_service.api.inject import DatabasesReader, DatabasesWriter, OwnDatabasesReader, Use
from database_service.api.paging import Cursor, Limit, position_of
from database_service.api.rendering import answer
from database_service.api.schemas.operations import OperationOut, OperationsOut
from database_service.api.waiting import Wait, capped
from database_service.auth.guard import Asked
from database_service.auth.scopes import Scope
from database_service.deps import Deps
from database_service.domain.ids import OperationId
from database_service.domain.operations import OVER, Kind, State
from database_service.views import operations as view

PREFIX = "/api/database/operations"
router = APIRouter(prefix=PREFIX, tags=["operations"])


@router.get("", responses={200: {"model": OperationsOut}})
async def operations(
    asked: OwnDatabasesReader,
    deps: Use,
    state: Annotated[State | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Long work, the newest first."""
    before = position_of(cursor) if cursor is not None else view.NEWEST
    customer_id = asked.caller.customer_id
    page = await view.page(deps, state=state, customer_id=customer_id, before=before, limit=limit)
    return answer(OperationsOut.of(page))


@router.get("/{operation_id}", responses={200: {"model": OperationOut}})
async def operation(operation_id: UUID, asked: DatabasesReader, deps: Use, wait: Wait = 0) -> Response:
    """One operation with its steps. With `wait` it answers once it is over or paused, or when the time is up."""
    if wait:
        await wait_for(deps, OperationId(operation_id), capped(deps, wait))
    return await shown(deps, OperationId(operation_id))


@router.post("/{operation_id}/cancel", responses={200: {"model": OperationOut}})
async def cancel(operation_id: UUID, asked: DatabasesWriter, deps: Use) -> Response:
    """No further step; the one in hand is finished, what is done stays. Other than changes of plan need `admin:write` as well."""
    await _must_be_allowed(deps, OperationId(operation_id), asked)
    await steer_operation.cancel(deps, OperationId(operation_id), asked.who)
    return await shown(deps, OperationId(operation_id))


@router.post("/{operation_id}/pause", responses={200: {"model": OperationOut}})
async def pause(operation_id: UUID, asked: DatabasesWriter, deps: Use) -> Response:
    """Rest after the step in hand, until it is resumed. Other than changes of plan need `admin:write` as well."""
    await _must_be_allowed(deps, OperationId(operation_id), asked)
    await steer_operation.pause(deps, OperationId(operation_id), asked.who)
    return await shown(deps, OperationId(operation_id))


@router.post("/{operation_id}/resume", responses={200: {"model": OperationOut}})
async def resume(operation_id: UUID, asked: DatabasesWriter, deps: Use) -> Response:
    """Go on with the next step. Other than changes of plan need `admin:write` as well."""
    await _must_be_allowed(deps, OperationId(operation_id), asked)
    await steer_operation.resume(deps, OperationId(operation_id), asked.who)
    return await shown(deps, OperationId(operation_id))


@router.post("/{operation_id}/rollback", status_code=202, responses={202: {"model": OperationOut}})
async def rollback(operation_id: UUID, asked: DatabasesWriter, deps: Use) -> Response:
    """Bring back what it moved, as long as nothing was written there since. Other than changes of plan need `admin:write`."""
    await _must_be_allowed(deps, OperationId(operation_id), asked)
    begun = await roll_back(deps, OperationId(operation_id), asked.who)
    return await shown(deps, begun.id, 202)


@router.post("/{operation_id}/retry", status_code=202, responses={202: {"model": OperationOut}})
async def retry(operation_id: UUID, asked: DatabasesWriter, deps: Use) -> Response:
    """Another one, which does what this one did not get done. Other than changes of plan need `admin:write` as well."""
    await _must_be_allowed(deps, OperationId(operation_id), asked)
    begun = await try_again(deps, OperationId(operation_id), asked.who)
    return await shown(deps, begun.id, 202)


async def shown(deps: Deps, operation_id: OperationId, status: int = 200) -> Response:
    where = {"Location": f"{PREFIX}/{operation_id}"} if status == 202 else None
    return answer(OperationOut.of(await view.one(deps, operation_id)), status, where)


async def begun_or_over(deps: Deps, operation_id: OperationId) -> Response:
    """202 while there is something to follow; 200 where it took no time."""
    found = await view.one(deps, operation_id)
    return answer(OperationOut.of(found), 200 if found.state in OVER else 202, {"Location": f"{PREFIX}/{operation_id}"})


async def _must_be_allowed(deps: Deps, operation_id: OperationId, asked: Asked) -> None:
    """Whoever may begin it may steer it. OperationNotFound, Forbidden."""
    found = await view.one(deps, operation_id)
    if found.kind != Kind.CHANGE_PLAN:
        asked.caller.must_hold((Scope.ADMIN_WRITE,))
