"""What is there and should not be, or the other way round; and its removal, of just what was shown."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import Response

from database_service.actions import remove_drift
from database_service.deps import Deps
from database_service.domain.errors import ServiceError
from database_service.domain.ids import DriftId
from database_service.ui.rendering import page
from database_service.ui.routing import failed, router, see
from database_service.ui.session import PATH
from database_service.ui.visitor import Sends, Visits
from database_service.views import drift

DRIFT = f"{PATH}/drift"

routes = router()


@routes.get("/drift")
async def findings(request: Request, visitor: Visits, after: Annotated[int, Query(ge=0, le=2**62)] = 0) -> Response:
    found = await drift.page(request.app.state.deps, after=after)
    return page("drift.html", request, visitor, told=None, found=found)


@routes.post("/drift/find")
async def find(request: Request, sent: Sends) -> Response:
    await remove_drift.want_look(request.app.state.deps)
    return see(DRIFT)


@routes.post("/drift/{drift_id}/offer")
async def offer(request: Request, sent: Sends, drift_id: UUID) -> Response:
    """What exactly would be removed, with the button that agrees to just that."""
    deps: Deps = request.app.state.deps
    try:
        offered = await remove_drift.offer(deps, DriftId(drift_id))
    except ServiceError as e:
        return failed("drift.html", request, sent, e, found=await drift.page(deps))
    return page("drift_offer.html", request, sent.visitor, offer=offered)


@routes.post("/drift/{drift_id}/confirm")
async def confirm(request: Request, sent: Sends, drift_id: UUID) -> Response:
    deps: Deps = request.app.state.deps
    try:
        await remove_drift.confirm(deps, DriftId(drift_id), sent.fields.get("confirmation", ""), sent.visitor.who)
    except ServiceError as e:
        return failed("drift.html", request, sent, e, found=await drift.page(deps))
    return see(DRIFT)
