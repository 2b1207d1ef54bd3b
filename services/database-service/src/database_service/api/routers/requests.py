"""The request log."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from database_service.api.inject import AdminReader, Use
from database_service.api.paging import Cursor, Limit, place_of
from database_service.api.rendering import answer
from database_service.api.schemas.common import CallerId, Moment
from database_service.api.schemas.requests import RequestsOut
from database_service.views import requests as view

router = APIRouter(prefix="/api/database/admin", tags=["admin"])

_LINE = r"^[^\x00-\x1f\x7f]*$"


@router.get("/requests", responses={200: {"model": RequestsOut}})
async def requests(
    asked: AdminReader,
    deps: Use,
    since: Annotated[Moment | None, Query(description="Only those that came then or later.")] = None,
    until: Annotated[Moment | None, Query(description="Only those that came before.")] = None,
    endpoint: Annotated[str | None, Query(max_length=200, pattern=_LINE, description="As the list tells it.")] = None,
    status: Annotated[int | None, Query(ge=100, le=599)] = None,
    errors: Annotated[bool, Query(description="Only those that were refused or failed: a status from 400.")] = False,
    token_id: Annotated[UUID | None, Query()] = None,
    instance_id: Annotated[CallerId | None, Query()] = None,
    request_id: Annotated[CallerId | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Requests to this API, newest first: errors, changes, and a share of what was read. It is seconds behind."""
    wanted = view.Wanted(since, until, endpoint, status, errors, token_id, instance_id, request_id)
    before = place_of(cursor) if cursor is not None else None
    return answer(RequestsOut.of(await view.page(deps, wanted, before=before, limit=limit)))
