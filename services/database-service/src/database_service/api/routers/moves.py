"""Changes of plan, and moves from server to server."""

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response

from database_service.actions import move_databases, survey_move
from database_service.actions.change_plan import change_plan as change_the_plan
from database_service.api.inject import AdminWriter, DatabasesWriter, Use
from database_service.api.rendering import answer
from database_service.api.routers.operations import begun_or_over, shown
from database_service.api.schemas.common import IdempotencyKey, InstancePath
from database_service.api.schemas.moves import ChangePlanIn, MoveIn, MoveReportOut, RebalanceIn
from database_service.api.schemas.operations import OperationOut
from database_service.domain.ids import InstanceId, ServerId

PREFIX = "/api/database"
router = APIRouter(prefix=PREFIX, tags=["moves"])


@router.post(
    "/databases/{instance_id}/change-plan",
    responses={200: {"model": OperationOut | MoveReportOut}, 202: {"model": OperationOut}},
)
async def change_plan(
    instance_id: InstancePath,
    wanted: ChangePlanIn,
    asked: DatabasesWriter,
    deps: Use,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Other limits at once (200), or a move to another kind of server (202); follow it at the `Location`."""
    if wanted.dry_run:
        return answer(MoveReportOut.of(await survey_move.of_plan(deps, wanted.wanted(instance_id))))
    operation = await change_the_plan(deps, wanted.wanted(instance_id), asked.who, request_key=idempotency_key)
    return await begun_or_over(deps, operation.id)


@router.post(
    "/admin/databases/{instance_id}/move",
    responses={200: {"model": MoveReportOut}, 202: {"model": OperationOut}},
)
async def move(
    instance_id: InstancePath,
    asked: AdminWriter,
    deps: Use,
    wanted: MoveIn = MoveIn(),  # noqa: B008  it is frozen
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """To another pool. Its users are shut out for as long as it is copied; follow it at the `Location`."""
    instance, pool = InstanceId(instance_id), ServerId(wanted.pool_id) if wanted.pool_id else None
    if wanted.dry_run:
        return answer(MoveReportOut.of(await survey_move.of_move(deps, instance, pool)))
    operation = await move_databases.move(deps, instance, pool, asked.who, request_key=idempotency_key)
    return await shown(deps, operation.id, 202)


@router.post("/admin/pools/rebalance", status_code=202, responses={202: {"model": OperationOut}})
async def rebalance(
    asked: AdminWriter,
    deps: Use,
    wanted: RebalanceIn = RebalanceIn(),  # noqa: B008  it is frozen
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Move databases from fuller pools to emptier ones, one after the other."""
    operation = await move_databases.rebalance(deps, wanted.most, asked.who, request_key=idempotency_key)
    return await shown(deps, operation.id, 202)


@router.post("/admin/pools/{pool_id}/drain", status_code=202, responses={202: {"model": OperationOut}})
async def drain(pool_id: UUID, asked: AdminWriter, deps: Use, idempotency_key: IdempotencyKey = None) -> Response:
    """Cordon it and move every database in use on it elsewhere, one after the other."""
    operation = await move_databases.drain(deps, ServerId(pool_id), asked.who, request_key=idempotency_key)
    return await shown(deps, operation.id, 202)
