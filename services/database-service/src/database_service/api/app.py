"""The application: routes, the one middleware, problems, and a lifespan that opens Deps and closes them again."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute

from database_service.api import openapi, problems
from database_service.api.middleware import Doorway
from database_service.api.routers import admin, databases, drift, health, moves, operations, pools
from database_service.api.routers.health import Ping
from database_service.auth.rate import Rate
from database_service.auth.tokens import Tokens
from database_service.deps import Deps

PREFIX = "/api/database"
ROUTERS = (databases.router, operations.router, moves.router, pools.router, drift.router, admin.router, health.router)

Open = Callable[[], AbstractAsyncContextManager[Deps]]


@dataclass(frozen=True, slots=True)
class Door:
    """How wide the HTTP door is open."""

    body_limit: int = 64 * 1024
    """Bytes."""
    requests_per_second: float = 5000
    """Of one token, in one process."""
    burst: int = 10_000
    ping_broker: Ping | None = None
    """Asks the broker for a sign of life; None where there is none."""


def create_app(open: Open, door: Door = Door()) -> FastAPI:  # noqa: A002  `open` is what it does; Door is frozen
    """The API. `open` yields Deps for as long as the application runs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open() as deps, Tokens(deps) as tokens:
            app.state.deps, app.state.tokens = deps, tokens
            yield

    app = FastAPI(
        routes=[*routes()],  # not by include_router, which looks for the route of each request twice
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours is in `observability`
    )
    app.state.rate = Rate(door.requests_per_second, door.burst)
    app.state.ping_broker = door.ping_broker
    app.add_middleware(Doorway, body_limit=door.body_limit)
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
