"""Drift: what is there without a row, and rows whose thing is gone, differs or moved."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from database_service.actions import remove_drift
from database_service.api.inject import AdminReader, AdminWriter, Use
from database_service.api.paging import Cursor, Limit, position_of
from database_service.api.rendering import answer
from database_service.api.schemas.drift import DriftOut, DriftsOut, LookOut, OfferOut, RemoveIn
from database_service.domain.drift import Kind, State
from database_service.domain.ids import DriftId
from database_service.views import drift as view

PREFIX = "/api/database/admin/drift"
router = APIRouter(prefix=PREFIX, tags=["drift"])


@router.get("", responses={200: {"model": DriftsOut}})
async def drift(
    asked: AdminReader,
    deps: Use,
    kind: Annotated[Kind | None, Query()] = None,
    state: Annotated[State | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """What the last look found, and what it could not look at; what is gone only when asked for by state."""
    after = position_of(cursor) if cursor is not None else 0
    page = await view.page(deps, kind=kind, state=state, after=after, limit=limit)
    return answer(DriftsOut.of(page, deps.policy))


@router.post("/find", status_code=202, responses={202: {"model": LookOut}})
async def find(asked: AdminWriter, deps: Use) -> Response:
    """Have a worker look now; the list tells when it did."""
    return answer(LookOut(wanted_at=await remove_drift.want_look(deps)), 202, {"Location": PREFIX})


@router.post("/{drift_id}/remove", responses={200: {"model": OfferOut}, 202: {"model": DriftOut}})
async def remove(
    drift_id: UUID,
    asked: AdminWriter,
    deps: Use,
    wanted: RemoveIn = RemoveIn(),  # noqa: B008  it is frozen
) -> Response:
    """First what exactly would be removed (200), then with its `confirmation` the removal (202)."""
    if wanted.confirm is None:
        return answer(OfferOut.of(await remove_drift.offer(deps, DriftId(drift_id)), deps.policy))
    confirmed = await remove_drift.confirm(deps, DriftId(drift_id), wanted.confirm, asked.who)
    return answer(DriftOut.of(confirmed, deps.policy), 202, {"Location": f"{PREFIX}?kind={confirmed.finding.kind}"})
