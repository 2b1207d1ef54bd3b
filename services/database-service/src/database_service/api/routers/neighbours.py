"""Neighbours: who takes how much of a pool."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from database_service.api.inject import AdminReader, Use
from database_service.api.paging import Limit
from database_service.api.rendering import answer
from database_service.api.schemas.usage import NeighboursOut
from database_service.domain.ids import ServerId
from database_service.views import usage as view

router = APIRouter(prefix="/api/database/admin", tags=["neighbours"])


@router.get("/neighbours", responses={200: {"model": NeighboursOut}})
async def neighbours(
    asked: AdminReader,
    deps: Use,
    pool_id: Annotated[UUID | None, Query(description="Only those on this pool.")] = None,
    limit: Limit = 20,
) -> Response:
    """The noisiest databases on pools: their shares of sessions, time, blocks, temporary files and disk, with advice."""
    ranked = await view.noisiest(deps, server_id=ServerId(pool_id) if pool_id else None, limit=limit)
    return answer(NeighboursOut.of(ranked))
