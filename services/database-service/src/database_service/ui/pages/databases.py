"""Databases: found by the instance they are for; what each is, has and uses, and what may be done with it."""

from typing import Annotated
from urllib.parse import quote

from fastapi import Path, Request
from fastapi.responses import Response

from database_service.actions.change_plan import Wanted, change_plan
from database_service.actions.credentials import credentials
from database_service.actions.move_databases import move
from database_service.actions.release import protect, release, undelete
from database_service.actions.rotate import rotate
from database_service.auth.scopes import Scope
from database_service.deps import Deps
from database_service.domain.answers import Allocation
from database_service.domain.errors import InvalidField, ServiceError
from database_service.domain.ids import CALLER_ID_PATTERN, InstanceId, OperationId
from database_service.domain.plans import Tier
from database_service.ui.fields import caller_id, line, named
from database_service.ui.rendering import page
from database_service.ui.routing import failed, router, see
from database_service.ui.session import PATH
from database_service.ui.visitor import Form, Sends, Visits
from database_service.views import databases, events

DATABASES = f"{PATH}/databases"
EVENTS = 50

routes = router()

Instance = Annotated[str, Path(pattern=CALLER_ID_PATTERN)]


@routes.get("/databases")
async def find(request: Request, visitor: Visits, instance: str = "") -> Response:
    """The one of this instance; without one, the page to look for it."""
    try:
        wanted = caller_id({"instance": instance.strip()}, "instance")
    except InvalidField as e:
        return page("databases.html", request, visitor, 422, told=str(e), instance=instance)
    if wanted:
        return see(_where(wanted))
    return page("databases.html", request, visitor, told=None, instance="")


@routes.get("/databases/{instance_id}")
async def database(request: Request, visitor: Visits, instance_id: Instance) -> Response:
    return page("database.html", request, visitor, told=None, **await _seen(request.app.state.deps, instance_id))


@routes.get("/parts/databases/{instance_id}")
async def part(request: Request, visitor: Visits, instance_id: Instance) -> Response:
    return page("parts/database.html", request, visitor, **await _seen(request.app.state.deps, instance_id))


async def _seen(deps: Deps, instance_id: str, shown: Allocation | None = None) -> dict[str, object]:
    seen = await databases.status(deps, InstanceId(instance_id))
    trail = await events.page(deps, instance_id=instance_id, limit=EVENTS)
    return {
        "seen": seen,
        "database": seen.database,
        "plan": seen.database.plan,
        "usage": seen.usage,
        "events": trail.events,
        "tiers": list(Tier),
        "secret": (shown, shown.password.reveal()) if shown else None,
    }


@routes.post("/databases/{instance_id}/reveal")
async def reveal(request: Request, sent: Sends, instance_id: Instance) -> Response:
    """The page with the newest credentials on it. An event says who looked."""
    deps: Deps = request.app.state.deps
    sent.visitor.caller.must_hold((Scope.DATABASES_SECRETS,))
    try:
        found = await credentials(deps, InstanceId(instance_id), sent.visitor.who)
    except ServiceError as e:
        return failed("database.html", request, sent.visitor, e, **await _seen(deps, instance_id))
    return page("database.html", request, sent.visitor, told=None, **await _seen(deps, instance_id, found))


@routes.post("/databases/{instance_id}/{verb}")
async def do(request: Request, sent: Sends, instance_id: Instance, verb: str) -> Response:
    """What takes it away asks for its instance; where it cannot be done, the page says why."""
    deps: Deps = request.app.state.deps
    sent.visitor.caller.must_hold((Scope.DATABASES_WRITE,))
    try:
        operation = await _done(deps, sent, InstanceId(instance_id), verb)
    except ServiceError as e:
        return failed("database.html", request, sent.visitor, e, **await _seen(deps, instance_id))
    return see(f"{PATH}/operations/{operation}" if operation else _where(instance_id))


async def _done(deps: Deps, sent: Form, instance_id: InstanceId, verb: str) -> OperationId | None:
    """The operation to follow, where it is one."""
    who, fields = sent.visitor.who, sent.fields
    match verb:
        case "rotate":
            await rotate(deps, instance_id, who)
        case "release":
            named(fields, instance_id)
            await release(deps, instance_id, who, why=line(fields, "why"))
        case "undelete":
            await undelete(deps, instance_id, who)
        case "protect":
            await protect(deps, instance_id, True, who)
        case "unprotect":
            await protect(deps, instance_id, False, who)
        case "plan":
            wanted = Wanted(instance_id, fields.get("plan_tier", ""), fields.get("require_dedicated") == "on")
            return (await change_plan(deps, wanted, who)).id
        case "move":
            named(fields, instance_id)
            return (await move(deps, instance_id, None, who)).id
        case _:
            raise InvalidField("verb", "is none that a database knows")
    return None


def _where(instance_id: str) -> str:
    return f"{DATABASES}/{quote(instance_id, safe='')}"
