"""Long work: what goes on, how far it is, and how it is steered."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import Response

from database_service.actions import steer_operation
from database_service.actions.move_databases import roll_back
from database_service.actions.try_again import try_again
from database_service.deps import Deps
from database_service.domain import verbs
from database_service.domain.errors import InvalidField, ServiceError
from database_service.domain.ids import OperationId
from database_service.domain.operations import OVER, Kind, State
from database_service.ui.fields import or_none
from database_service.ui.parts import shared
from database_service.ui.rendering import page
from database_service.ui.routing import failed, router, see
from database_service.ui.session import PATH
from database_service.ui.visitor import Sends, Visits
from database_service.views import events, operations

OPERATIONS = f"{PATH}/operations"
EVENTS = 50
STEPS = 100
"""On a page: an operation on every server has as many as there are servers."""

routes = router()

Of = Annotated[State | None, or_none, Query()]
Before = Annotated[int, Query(ge=1, le=operations.NEWEST)]
First = Annotated[int | None, Query(ge=1, le=2**30)]


@routes.get("/operations")
async def all_operations(
    request: Request, visitor: Visits, state: Of = None, before: Before = operations.NEWEST
) -> Response:
    return page("operations.html", request, visitor, **await _found(request.app.state.deps, state, before))


@routes.get("/parts/operations")
async def table(request: Request, visitor: Visits, state: Of = None, before: Before = operations.NEWEST) -> Response:
    return await shared(request, "parts/operations.html", lambda: _found(request.app.state.deps, state, before))


async def _found(deps: Deps, state: State | None, before: int) -> dict[str, object]:
    at, found = deps.now(), await operations.progress_page(deps, state=state, before=before)
    return {"at": at, "found": found, "state_wanted": state, "before": before, "states": list(State)}


@routes.get("/operations/{operation_id}")
async def operation(request: Request, visitor: Visits, operation_id: UUID, first: First = None) -> Response:
    shown = await _one(request.app.state.deps, operation_id, first)
    return page("operation.html", request, visitor, told=None, **shown)


@routes.get("/parts/operations/{operation_id}")
async def part(request: Request, visitor: Visits, operation_id: UUID, first: First = None) -> Response:
    return page("parts/operation.html", request, visitor, **await _one(request.app.state.deps, operation_id, first))


async def _one(deps: Deps, operation_id: UUID, first: int | None = None) -> dict[str, object]:
    """Without `first`, the steps among which the one in hand is, wherever that is by now."""
    found = await operations.followed(deps, OperationId(operation_id), first, STEPS)
    trail = await events.page(deps, subject_id=operation_id, limit=EVENTS)
    return {
        "operation": found.operation,
        "at": deps.now(),
        "events": trail.events,
        "progress": found.progress,
        "first": found.first,
        "last": found.first + len(found.operation.steps) - 1,
        "stays": first,
        "most": STEPS,
        "over": found.operation.state in OVER,
        "verbs": verbs.of_operation(Kind(found.operation.kind), State(found.operation.state)),
    }


@routes.post("/operations/{operation_id}/{verb}")
async def steer(request: Request, sent: Sends, operation_id: UUID, verb: str) -> Response:
    """Pause, resume, cancel, try again or roll back; where it cannot be, the page says why."""
    deps: Deps = request.app.state.deps
    found = (await operations.followed(deps, OperationId(operation_id), most=1)).operation
    where, who = found.id, sent.visitor.who
    try:
        match verb:
            case "pause":
                await steer_operation.pause(deps, found.id, who)
            case "resume":
                await steer_operation.resume(deps, found.id, who)
            case "cancel":
                await steer_operation.cancel(deps, found.id, who)
            case "retry":
                where = (await try_again(deps, found.id, who)).id
            case "rollback":
                where = (await roll_back(deps, found.id, who)).id
            case _:
                raise InvalidField("verb", "is none that an operation knows")
    except ServiceError as e:
        return failed("operation.html", request, sent, e, **await _one(deps, operation_id))
    return see(f"{OPERATIONS}/{where}")
