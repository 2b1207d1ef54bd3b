"""Plans and templates: what a database of each plan may use, and what new ones are made from."""

from fastapi import Request
from fastapi.responses import Response

from database_service.deps import Deps
from database_service.domain.databases import TEMPLATES
from database_service.domain.plans import PLANS
from database_service.ui.rendering import page
from database_service.ui.routing import router
from database_service.ui.visitor import Visits
from database_service.views import stats

routes = router()


@routes.get("/plans")
async def plans(request: Request, visitor: Visits) -> Response:
    deps: Deps = request.app.state.deps
    spares = await stats.spares(deps)
    return page(
        "plans.html",
        request,
        visitor,
        plans=list(PLANS.values()),
        templates=[(name, spares.get(name, 0)) for name in sorted(TEMPLATES)],
        policy=deps.policy,
    )
