"""The hub on an application: its routes, its files, and what they need of the application."""

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from database_service.auth.oidc.sign_in import SignIn
from database_service.ui.live import Fleet
from database_service.ui.pages import (
    databases,
    drift,
    events,
    growth,
    hub,
    oidc,
    operations,
    plans,
    pools,
    requests,
    signing_in,
    tokens,
)
from database_service.ui.parts import Parts
from database_service.ui.rendering import STATIC
from database_service.ui.routing import StatusOf, beyond
from database_service.ui.session import PATH


def install(app: FastAPI, status_of: StatusOf, sign_in: SignIn | None = None, home: str | None = None) -> None:
    """`app` is the API's: the hub uses its Deps, its tokens and its gate. `status_of` tells the HTTP status of an error.
    Without `sign_in`, tokens are the only way in. `home` is the site that browsers find the hub on, where that is set."""
    app.state.hub_home = sign_in.home if sign_in else home
    app.state.hub_status_of, app.state.hub_fleet, app.state.hub_sign_in = status_of, Fleet(), sign_in
    app.state.hub_parts = Parts(app.state.hub_fleet)
    parts = (signing_in, hub, pools, databases, growth, operations, events, requests, drift, plans, tokens)
    routers = [part.routes for part in (*parts, *((oidc,) if sign_in else ()))]
    for each in routers:
        app.include_router(each)
    app.mount(f"{PATH}/static", StaticFiles(directory=STATIC))
    app.include_router(beyond([route for each in routers for route in each.routes if isinstance(route, APIRoute)]))
