"""The audit trail, newest first."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import Response

from database_service.ui.fields import line, or_none
from database_service.ui.rendering import page
from database_service.ui.routing import router
from database_service.ui.visitor import Visits
from database_service.views import events

routes = router()


@routes.get("/events")
async def trail(
    request: Request,
    visitor: Visits,
    instance: str = "",
    subject: Annotated[UUID | None, or_none] = None,
    before: Annotated[int, Query(ge=1, le=events.NEWEST)] = events.NEWEST,
) -> Response:
    wanted = line({"instance": instance.strip()}, "instance")
    found = await events.page(request.app.state.deps, instance_id=wanted, subject_id=subject, before=before)
    return page("events.html", request, visitor, found=found, instance=instance, subject=subject)
