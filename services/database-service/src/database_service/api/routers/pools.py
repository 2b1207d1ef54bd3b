"""Pools: what operators do with servers."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from database_service.actions import adopt_server, change_servers, cordon_server
from database_service.actions.check_server import check
from database_service.actions.order_server import order_pool
from database_service.actions.retire_server import retire as retire_server
from database_service.api.inject import AdminReader, AdminWriter, Use
from database_service.api.paging import Cursor, Limit, position_of
from database_service.api.rendering import answer
from database_service.api.routers.operations import shown
from database_service.api.schemas.common import IdempotencyKey
from database_service.api.schemas.operations import OperationOut, RolloutIn, RotateAdminPasswordIn
from database_service.api.schemas.pools import (
    AdoptIn,
    AdoptionOut,
    CordonIn,
    HealthCheckOut,
    OrderIn,
    PoolOut,
    PoolsOut,
)
from database_service.deps import Deps
from database_service.domain.ids import ServerId
from database_service.domain.plans import ServerType
from database_service.views import servers as view

PREFIX = "/api/database/admin/pools"
router = APIRouter(prefix=PREFIX, tags=["pools"])


@router.get("", responses={200: {"model": PoolsOut}})
async def pools(
    asked: AdminReader,
    deps: Use,
    status: Annotated[view.Shown | None, Query()] = None,
    server_type: Annotated[ServerType | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Servers in the order they were made; those that are gone only when asked for by status."""
    after = position_of(cursor) if cursor is not None else 0
    return answer(PoolsOut.of(await view.page(deps, status=status, server_type=server_type, after=after, limit=limit)))


@router.post("", status_code=202, responses={202: {"model": PoolOut}})
async def order(
    asked: AdminWriter,
    deps: Use,
    wanted: OrderIn = OrderIn(),  # noqa: B008  it is frozen
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Order a pool. It is stored at once and made in the background; follow it at the `Location`."""
    server = await order_pool(deps, asked.who, **wanted.model_dump(), request_key=idempotency_key)
    return await _pool(deps, server.id, 202)


@router.post("/adopt", responses={200: {"model": AdoptionOut}, 202: {"model": PoolOut}})
async def adopt(wanted: AdoptIn, asked: AdminWriter, deps: Use) -> Response:
    """Take over a server that somebody else runs: first a report (200), then with its `confirmation` the adoption (202)."""
    if wanted.confirm is None:
        return answer(AdoptionOut.of(await adopt_server.look(deps, wanted.target())))
    server = await adopt_server.adopt(deps, wanted.target(), wanted.confirm, asked.who)
    return await _pool(deps, server.id, 202)


@router.post("/rollout", status_code=202, responses={202: {"model": OperationOut}})
async def rollout(wanted: RolloutIn, asked: AdminWriter, deps: Use, idempotency_key: IdempotencyKey = None) -> Response:
    """Change image, memory, CPUs or slots of servers, one at a time; follow it at the `Location`."""
    operation = await change_servers.roll_out(
        deps, asked.who, wanted.chosen(), wanted.target(), request_key=idempotency_key
    )
    return await shown(deps, operation.id, 202)


@router.post("/rotate-admin-password", status_code=202, responses={202: {"model": OperationOut}})
async def rotate_admin_password(
    asked: AdminWriter,
    deps: Use,
    wanted: RotateAdminPasswordIn = RotateAdminPasswordIn(),  # noqa: B008  it is frozen
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """New administrators' passwords, one server after the other; no session ends. Follow it at the `Location`."""
    operation = await change_servers.rotate_admin_passwords(
        deps, asked.who, wanted.chosen(), request_key=idempotency_key
    )
    return await shown(deps, operation.id, 202)


@router.get("/{pool_id}", responses={200: {"model": PoolOut}})
async def pool(pool_id: UUID, asked: AdminReader, deps: Use) -> Response:
    """One server."""
    return await _pool(deps, ServerId(pool_id))


@router.post("/{pool_id}/health-check", responses={200: {"model": HealthCheckOut}})
async def health_check(pool_id: UUID, asked: AdminWriter, deps: Use) -> Response:
    """Log in to it now and say how it is."""
    return answer(HealthCheckOut.of(await check(deps, ServerId(pool_id), asked.who)))


@router.post("/{pool_id}/cordon", responses={200: {"model": PoolOut}})
async def cordon(
    pool_id: UUID,
    asked: AdminWriter,
    deps: Use,
    wanted: CordonIn = CordonIn(),  # noqa: B008  it is frozen
) -> Response:
    """No new databases for it; those it has stay."""
    await cordon_server.cordon(deps, ServerId(pool_id), asked.who, wanted.reason)
    return await _pool(deps, ServerId(pool_id))


@router.post("/{pool_id}/uncordon", responses={200: {"model": PoolOut}})
async def uncordon(pool_id: UUID, asked: AdminWriter, deps: Use) -> Response:
    """New databases may come again."""
    await cordon_server.uncordon(deps, ServerId(pool_id), asked.who)
    return await _pool(deps, ServerId(pool_id))


@router.post("/{pool_id}/retire", status_code=202, responses={202: {"model": PoolOut}})
async def retire(pool_id: UUID, asked: AdminWriter, deps: Use) -> Response:
    """Remove an empty server for good."""
    await retire_server(deps, ServerId(pool_id), asked.who)
    return await _pool(deps, ServerId(pool_id), 202)


async def _pool(deps: Deps, server_id: ServerId, status: int = 200) -> Response:
    where = {"Location": f"{PREFIX}/{server_id}"} if status == 202 else None
    return answer(PoolOut.of(await view.one(deps, server_id)), status, where)
