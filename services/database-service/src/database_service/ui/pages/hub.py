"""The hub itself: the fleet at a glance, and what of it needs somebody."""

from datetime import timedelta

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from database_service.deps import Deps
from database_service.ui.live import Fleet
from database_service.ui.parts import shared
from database_service.ui.rendering import HEADERS, page
from database_service.ui.routing import router
from database_service.ui.visitor import Visits
from database_service.views import backups, drift, fleet, history, stats, usage

RECENT = timedelta(days=1)
LISTED = frozenset({"waiting", "creating", "moving", "releasing", "released"})
"""States of databases that have an instance, so that their list is of something."""

routes = router()


@routes.get("")
async def hub(request: Request, visitor: Visits) -> Response:
    return page("hub.html", request, visitor, **await _seen(request.app.state.deps))


@routes.get("/parts/hub")
async def part(request: Request, visitor: Visits) -> Response:
    """What of the hub changes."""
    return await shared(request, "parts/hub.html", lambda: _seen(request.app.state.deps))


@routes.get("/live")
async def live(request: Request, visitor: Visits) -> Response:
    watched: Fleet = request.app.state.hub_fleet
    return StreamingResponse(
        watched.changes(request.app.state.deps, visitor.caller.name),
        media_type="text/event-stream",
        headers=dict(HEADERS),
    )


async def _seen(deps: Deps) -> dict[str, object]:
    backup = await backups.last(deps)
    return {
        "at": deps.now(),
        "backup": backup,
        "backup_overdue": backups.overdue(backup, deps),
        "stats": await stats.stats(deps),
        "concerns": await fleet.concerns(deps, deps.now() - RECENT),
        "drift": await drift.count_by_kind(deps),
        "listed": LISTED,
        "soon": await history.full_soon(deps),
        "levels": await usage.count_by_level(deps),
        "hours": await fleet.claims_by_hour(deps, deps.now() - RECENT),
        "pace": await fleet.allocate_pace(deps, deps.now() - timedelta(hours=1)),
    }
