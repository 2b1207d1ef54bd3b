"""Growth: what servers and databases had until now, as tables that a script draws, and who lives on a server."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Request
from fastapi.responses import Response

from database_service.deps import Deps
from database_service.domain.growth import Stretch
from database_service.domain.ids import CALLER_ID_PATTERN, InstanceId, ServerId
from database_service.ui.rendering import page
from database_service.ui.routing import router
from database_service.ui.visitor import Visits
from database_service.views import databases, history, servers
from database_service.views.databases import Order

A_PAGE = 50

routes = router()

By = Annotated[Stretch, Query()]
Sort = Annotated[Order, Query()]
Number = Annotated[int, Query(ge=1, le=10_000)]
Instance = Annotated[str, Path(pattern=CALLER_ID_PATTERN)]


@routes.get("/parts/pools/{server_id}/growth")
async def growth_part(request: Request, visitor: Visits, server_id: UUID, by: By = Stretch.HOUR) -> Response:
    deps: Deps = request.app.state.deps
    server = await servers.one(deps, ServerId(server_id))
    return page("parts/pool_growth.html", request, visitor, server=server, **await of_server(deps, server_id, by))


@routes.get("/parts/pools/{server_id}/databases")
async def residents_part(
    request: Request, visitor: Visits, server_id: UUID, sort: Sort = Order.SIZE, number: Number = 1
) -> Response:
    deps: Deps = request.app.state.deps
    server = await servers.one(deps, ServerId(server_id))
    shown = await residents(deps, server_id, sort, number)
    return page("parts/pool_databases.html", request, visitor, server=server, **shown)


@routes.get("/parts/databases/{instance_id}/growth")
async def database_part(request: Request, visitor: Visits, instance_id: Instance) -> Response:
    deps: Deps = request.app.state.deps
    seen = await databases.status(deps, InstanceId(instance_id))
    shown = await of_database(deps, instance_id)
    return page("parts/database_growth.html", request, visitor, plan=seen.database.plan, **shown)


async def of_server(deps: Deps, server_id: UUID, by: Stretch) -> dict[str, object]:
    """What the part about a server's growth asks for."""
    return {"history": await history.of_server(deps, ServerId(server_id), by), "by": by}


async def residents(deps: Deps, server_id: UUID, sort: Order, number: int) -> dict[str, object]:
    """What the table of a server's databases asks for."""
    found = await databases.on_server(deps, ServerId(server_id), sort, limit=A_PAGE, beyond=(number - 1) * A_PAGE)
    return {"residents": found, "sort": sort, "number": number, "last_page": -(-found.total // A_PAGE)}


async def of_database(deps: Deps, instance_id: str) -> dict[str, object]:
    """What the part about a database's growth asks for."""
    return {"history": await history.of_database(deps, InstanceId(instance_id))}
