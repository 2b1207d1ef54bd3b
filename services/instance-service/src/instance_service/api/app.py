"""The application: routes, the one middleware, problems, and a lifespan that opens Deps and closes them again."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute

from instance_service.api import openapi, problems
from instance_service.api.middleware import Doorway
from instance_service.api.routers import health, instances
from instance_service.api.routers.health import Ping
from instance_service.auth.guard import Guard
from instance_service.deps import Deps

PREFIX = "/api/instances"
ROUTERS = (instances.router, health.router)

Open = Callable[[], AbstractAsyncContextManager[Deps]]


@dataclass(frozen=True, slots=True)
class Door:
    """How wide the HTTP door is open."""

    body_limit: int = 64 * 1024
    """Bytes."""
    ping_broker: Ping | None = None
    """Asks the broker for a sign of life; None where there is none."""


def create_app(open: Open, guard: Guard, door: Door = Door()) -> FastAPI:  # noqa: A002  `open` is what it does; Door is frozen
    """The API. `open` yields Deps for as long as the application runs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open() as deps:
            app.state.deps = deps
            yield

    app = FastAPI(
        routes=[*routes()],
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours is in `observability`
    )
    app.state.guard = guard
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
