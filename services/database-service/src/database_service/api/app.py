"""The application: routes, the one middleware, problems, and a lifespan that opens Deps and closes them again."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute

from database_service.actions.record_requests import Keeping, RequestLog
from database_service.admission.bounds import BOUNDS, Bounds
from database_service.admission.gate import Gate
from database_service.admission.sharing import Shared
from database_service.api import openapi, problems
from database_service.api.middleware import Doorway
from database_service.api.routers import (
    admin,
    authorities,
    databases,
    drift,
    health,
    history,
    keys,
    moves,
    neighbours,
    operations,
    pools,
    requests,
)
from database_service.api.routers.health import Ping
from database_service.api.schemas.admin import ReadyOut
from database_service.api.turning_away import STATE, TurningAway
from database_service.auth.rate import OF_STRANGERS, OF_TOKEN, Pace, Rate
from database_service.auth.tokens import Tokens
from database_service.deps import Deps

PREFIX = "/api/database"
ROUTERS = (
    databases.router, operations.router, moves.router, pools.router, drift.router, neighbours.router, history.router, admin.router,
    keys.router, authorities.router, requests.router, health.router,
)  # fmt: skip

Open = Callable[[], AbstractAsyncContextManager[Deps]]


@dataclass(frozen=True, slots=True)
class Door:
    """How wide the HTTP door is open."""

    body_limit: int = 64 * 1024
    """Bytes."""
    body_timeout_s: float = 10
    """For the whole of it, from the head on."""
    bounds: Bounds = BOUNDS
    token: Pace = OF_TOKEN
    """Of one token, in one process."""
    strangers: Pace = OF_STRANGERS
    """Of one address, for tokens that nobody holds."""
    ping_broker: Ping | None = None
    """Asks the broker for a sign of life; None where there is none."""
    keeping: Keeping = field(default_factory=Keeping)
    """What the request log keeps."""


def create_app(open: Open, door: Door = Door()) -> FastAPI:  # noqa: A002  `open` is what it does; Door is frozen
    """The API. `open` yields Deps for as long as the application runs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, TurningAway]]:
        async with (
            open() as deps,
            Tokens(deps, door.strangers) as tokens,
            RequestLog(deps, door.keeping) as requests,
        ):
            app.state.deps, app.state.tokens, app.state.requests = deps, tokens, requests
            yield {STATE: turning_away}

    app = FastAPI(
        routes=[*routes()],  # not by include_router, which looks for the route of each request twice
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours is in `observability`
    )
    app.state.rate = Rate("token", door.token)
    app.state.gate = gate = Gate(door.bounds)
    turning_away = TurningAway(gate)
    app.state.ping_broker, app.state.readiness = door.ping_broker, Shared[ReadyOut]()
    app.add_middleware(
        Doorway,
        gate=gate,
        turning_away=turning_away,
        body_limit=door.body_limit,
        body_timeout_s=door.body_timeout_s,
    )
    problems.install(app)
    _show_contract(app)
    return app


def routes() -> Iterator[APIRoute]:
    """All that is in the contract."""
    for router in ROUTERS:
        yield from (route for route in router.routes if isinstance(route, APIRoute))


def _show_contract(app: FastAPI) -> None:
    contract = cache(lambda: openapi.document(routes()))

    @app.get(f"{PREFIX}/openapi.json", include_in_schema=False)
    async def openapi_json() -> JSONResponse:
        return JSONResponse(contract())

    @app.get(f"{PREFIX}/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(openapi.page(contract()))
