"""Servers: a map and a table of all, a page for each, and what may be done with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Depends, Path, Query, Request
from fastapi.responses import Response

from database_service.actions import cordon_server, move_databases, retire_server
from database_service.actions.check_server import check
from database_service.actions.order_server import order_pool
from database_service.deps import Deps
from database_service.domain import verbs
from database_service.domain.errors import InvalidField, ServiceError
from database_service.domain.growth import Stretch
from database_service.domain.ids import ServerId
from database_service.domain.plans import ServerType
from database_service.domain.servers import Status
from database_service.ui.fields import line, named, number, or_none
from database_service.ui.fleet_map import STATES, written
from database_service.ui.offers import Offered, has_changed
from database_service.ui.pages.growth import By, Number, Sort, of_server, residents
from database_service.ui.parts import shared
from database_service.ui.rendering import page
from database_service.ui.routing import failed, router, see
from database_service.ui.session import PATH
from database_service.ui.visitor import Sends, Visits
from database_service.views import events, fleet, servers
from database_service.views.databases import Order

POOLS = f"{PATH}/pools"
A_PAGE = 50
ON_MAP = 20_000
EVENTS = 20
MOST_SLOTS = 10_000
ORDERS: Mapping[servers.Order, str] = {
    servers.Order.MADE: "the oldest first",
    servers.Order.NAME: "by name",
    servers.Order.ROOM: "the fullest first",
    servers.Order.HEALTH: "the ill first",
    servers.Order.LOOKED_AT: "not looked at for longest",
}

routes = router()

InState = Annotated[servers.Shown | None, or_none, Query()]
Kind = Annotated[ServerType | None, or_none, Query()]
InOrder = Annotated[servers.Order, Query()]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which part of the table."""

    status: servers.Shown | None = None
    server_type: ServerType | None = None
    sort: servers.Order = servers.Order.MADE
    number: int = 1

    def at(self, number: int) -> str:
        """The address of another page of it."""
        asked = {"status": self.status or "", "server_type": self.server_type or "", "sort": self.sort}
        return urlencode(asked | {"number": number})


async def _asked(
    status: InState = None, server_type: Kind = None, sort: InOrder = servers.Order.MADE, number: Number = 1
) -> _Asked:
    return _Asked(status, server_type, sort, number)


Asks = Annotated[_Asked, Depends(_asked)]


@routes.get("/pools")
async def pools(request: Request, visitor: Visits, asked: Asks) -> Response:
    shown = await _table(request.app.state.deps, asked)
    return page("pools.html", request, visitor, told=None, **shown)


@routes.get("/parts/pools")
async def table(request: Request, visitor: Visits, asked: Asks) -> Response:
    """The table alone."""
    return await shared(request, "parts/pools.html", lambda: _table(request.app.state.deps, asked))


@routes.get("/parts/map")
async def fleet_map(request: Request, visitor: Visits) -> Response:
    return await shared(request, "parts/map.html", lambda: _map(request.app.state.deps))


async def _map(deps: Deps) -> dict[str, object]:
    at, looks = deps.now(), await fleet.looks(deps, ON_MAP + 1)
    text, shown = written(looks.text, ON_MAP)
    return {"at": at, "map": text, "shown": shown, "more": shown < looks.servers, "states": STATES}


async def _table(deps: Deps, asked: _Asked) -> dict[str, object]:
    at, beyond = deps.now(), (asked.number - 1) * A_PAGE
    found = await servers.in_order(
        deps, asked.sort, status=asked.status, server_type=asked.server_type, beyond=beyond, limit=A_PAGE
    )
    return {
        "at": at,
        "found": found,
        "asked": asked,
        "last_page": -(-found.total // A_PAGE),
        "orders": ORDERS,
        "statuses": list(servers.Shown),
        "types": list(ServerType),
    }


@routes.post("/pools")
async def order(request: Request, sent: Sends) -> Response:
    deps: Deps = request.app.state.deps
    try:
        server = await order_pool(
            deps, sent.visitor.who, max_instances=number(sent.fields, "max_instances", 1, MOST_SLOTS)
        )
    except ServiceError as e:
        return failed("pools.html", request, sent, e, **await _table(deps, _Asked()))
    return see(f"{POOLS}/{server.id}")


@routes.get("/pools/at/{seq}")
async def at(request: Request, visitor: Visits, seq: Annotated[int, Path(ge=0, le=2**62)]) -> Response:
    """The server at this place of the map."""
    return see(f"{POOLS}/{await fleet.at(request.app.state.deps, seq)}")


@routes.get("/pools/{server_id}")
async def pool(
    request: Request,
    visitor: Visits,
    server_id: UUID,
    by: By = Stretch.HOUR,
    sort: Sort = Order.SIZE,
    number: Number = 1,
) -> Response:
    shown = await _page(request.app.state.deps, server_id, by, sort, number)
    return page("pool.html", request, visitor, told=None, **shown)


@routes.get("/parts/pools/{server_id}")
async def pool_part(request: Request, visitor: Visits, server_id: UUID, offered: Offered = None) -> Response:
    """What of the page changes by itself; of its forms, which somebody may be filling in, only if others are to be `offered`."""
    shown = await _server(request.app.state.deps, server_id)
    return page("parts/pool.html", request, visitor, **shown, changed=has_changed(visitor, offered, shown["verbs"]))


async def _server(deps: Deps, server_id: UUID) -> dict[str, Any]:
    server = await servers.one(deps, ServerId(server_id))
    trail = await events.page(deps, subject_id=server_id, limit=EVENTS)
    facts = dict(server.facts)
    settings = facts.pop("settings", None)
    return {
        "server": server,
        "facts": sorted(facts.items()),
        "settings": sorted(settings.items()) if isinstance(settings, dict) else (),
        "events": trail.events,
        "verbs": verbs.of_server(Status(server.status), ServerType(server.server_type), cordoned=server.cordoned),
    }


async def _page(
    deps: Deps, server_id: UUID, by: Stretch = Stretch.HOUR, sort: Order = Order.SIZE, number: int = 1
) -> dict[str, object]:
    return {
        **await _server(deps, server_id),
        **await of_server(deps, server_id, by),
        **await residents(deps, server_id, sort, number),
        "changed": False,
    }


@routes.post("/pools/{server_id}/{verb}")
async def do(request: Request, sent: Sends, server_id: UUID, verb: str) -> Response:
    """What destroys asks for the server's name; where it cannot be done, the page says why."""
    deps: Deps = request.app.state.deps
    server = await servers.one(deps, ServerId(server_id))
    try:
        match verb:
            case "check":
                await check(deps, server.id, sent.visitor.who)
            case "cordon":
                await cordon_server.cordon(deps, server.id, sent.visitor.who, line(sent.fields, "reason"))
            case "uncordon":
                await cordon_server.uncordon(deps, server.id, sent.visitor.who)
            case "drain":
                named(sent.fields, server.name)
                await move_databases.drain(deps, server.id, sent.visitor.who)
            case "retire":
                named(sent.fields, server.name)
                await retire_server.retire(deps, server.id, sent.visitor.who)
            case _:
                raise InvalidField("verb", "is none that a server knows")
    except ServiceError as e:
        return failed("pool.html", request, sent, e, **await _page(deps, server_id))
    return see(f"{POOLS}/{server_id}")
