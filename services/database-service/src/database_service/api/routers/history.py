"""History: what servers and databases had until now."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from database_service.api.inject import AdminReader, Use
from database_service.api.rendering import answer
from database_service.api.schemas.common import InstancePath
from database_service.api.schemas.history import DatabaseHistoryOut, PoolHistoryOut
from database_service.domain.growth import Stretch
from database_service.domain.ids import InstanceId, ServerId
from database_service.views import history as view

router = APIRouter(prefix="/api/database/admin", tags=["history"])


@router.get("/pools/{pool_id}/history", responses={200: {"model": PoolHistoryOut}})
async def pool_history(
    pool_id: UUID,
    asked: AdminReader,
    deps: Use,
    by: Annotated[
        Stretch, Query(description="`hour`: two weeks by the hour; `day`: all that is kept, by the day.")
    ] = Stretch.HOUR,
) -> Response:
    """What a server had, the oldest first, and when its slots will all be taken at this pace."""
    return answer(PoolHistoryOut.of(await view.of_server(deps, ServerId(pool_id), by)))


@router.get("/databases/{instance_id}/history", responses={200: {"model": DatabaseHistoryOut}})
async def database_history(instance_id: InstancePath, asked: AdminReader, deps: Use) -> Response:
    """The size of a database day by day, and when its plan's storage will be used up at this pace."""
    return answer(DatabaseHistoryOut.of(await view.of_database(deps, InstanceId(instance_id))))
