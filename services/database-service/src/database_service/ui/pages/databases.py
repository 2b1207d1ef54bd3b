"""Databases: found by how what is known of them begins; what each is, has and uses, and what may be done with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Path, Query, Request
from fastapi.responses import Response

from database_service.actions.change_plan import Wanted, change_plan
from database_service.actions.credentials import credentials
from database_service.actions.move_databases import move
from database_service.actions.release import protect, release, undelete
from database_service.actions.rotate import rotate
from database_service.auth.scopes import Scope
from database_service.deps import Deps
from database_service.domain import verbs
from database_service.domain.answers import Allocation
from database_service.domain.credentials import env, psql, uri
from database_service.domain.databases import Status
from database_service.domain.errors import InvalidField, ServiceError
from database_service.domain.ids import CALLER_ID_PATTERN, InstanceId, OperationId
from database_service.domain.plans import ServerType, Tier
from database_service.domain.usage import Level
from database_service.domain.verbs import OfDatabase
from database_service.ui.fields import beginning, line, named, or_none
from database_service.ui.offers import Offered, has_changed
from database_service.ui.pages.growth import of_database
from database_service.ui.rendering import page
from database_service.ui.routing import failed, router, see
from database_service.ui.session import PATH
from database_service.ui.visitor import Form, Sends, Visitor, Visits
from database_service.views import databases, events, search
from database_service.views.databases import DatabaseView
from database_service.views.search import By, Found

DATABASES = f"{PATH}/databases"
EVENTS = 50
A_PAGE = 50
OF_EACH = 10
"""How many are shown of each kind, where what was looked for may be any of them."""

routes = router()

Instance = Annotated[str, Path(pattern=CALLER_ID_PATTERN)]


@routes.get("/databases")
async def find(
    request: Request,
    visitor: Visits,
    q: str = "",
    by: Annotated[By | None, or_none] = None,
    after: Annotated[str, Query(pattern=f"{CALLER_ID_PATTERN}|^$")] = "",
    status: Annotated[Status | None, or_none] = None,
    level: Annotated[Level | None, or_none] = None,
) -> Response:
    """What begins with `q`: some by each of what may begin so, or a page by one. Without it, those of a state, of a level of
    storage, or the newest."""
    try:
        wanted = beginning({"q": q.strip()}, "q")
    except InvalidField as e:
        return page("databases.html", request, visitor, 422, told=str(e), q=q, by=None, groups=[], following=None)
    deps: Deps = request.app.state.deps
    if wanted and by:
        found = await search.search(deps, by, wanted, after=after, limit=A_PAGE)
        groups, following = [_Group(by, found.databases)], found.next_after
    elif wanted:
        groups, following = await _of_each(deps, wanted), None
    else:
        groups, following = [await _listed(deps, status, level)], None
    return page(
        "databases.html", request, visitor, told=None, q=wanted or "", by=by, groups=groups, following=following
    )


@dataclass(frozen=True, slots=True)
class _Group:
    """A list on the page: by what it was found, or what it is in words."""

    found: By | str
    databases: Sequence[Found]
    more: bool = False


async def _of_each(deps: Deps, wanted: str) -> list[_Group]:
    found = {by: await search.search(deps, by, wanted, limit=OF_EACH) for by in By}
    return [_Group(by, each.databases, each.next_after is not None) for by, each in found.items() if each.databases]


async def _listed(deps: Deps, status: Status | None, level: Level | None) -> _Group:
    if status:
        return _Group(f"{status}, those that have been for longest", await search.in_state(deps, status))
    if level:
        return _Group(f"Storage {level}, those that have been for longest", await search.at_level(deps, level))
    return _Group("Handed out last", await search.newest(deps, A_PAGE))


@routes.get("/databases/{instance_id}")
async def database(request: Request, visitor: Visits, instance_id: Instance) -> Response:
    shown = await _page(request.app.state.deps, visitor, instance_id)
    return page("database.html", request, visitor, told=None, **shown)


@routes.get("/parts/databases/{instance_id}")
async def part(request: Request, visitor: Visits, instance_id: Instance, offered: Offered = None) -> Response:
    """What of the page changes by itself; of its forms, which somebody may be filling in, only if others are to be `offered`."""
    shown = await _seen(request.app.state.deps, visitor, instance_id)
    return page("parts/database.html", request, visitor, **shown, changed=has_changed(visitor, offered, shown["verbs"]))


async def _seen(deps: Deps, visitor: Visitor, instance_id: str) -> dict[str, Any]:
    seen = await databases.status(deps, InstanceId(instance_id))
    trail = await events.page(deps, instance_id=instance_id, limit=EVENTS)
    return {
        "seen": seen,
        "database": seen.database,
        "plan": seen.database.plan,
        "usage": seen.usage,
        "events": trail.events,
        "verbs": _verbs(visitor, seen.database),
        "tiers": list(Tier),
    }


def _verbs(visitor: Visitor, database: DatabaseView) -> Sequence[OfDatabase]:
    found = verbs.of_database(Status(database.status), ServerType(database.server_type), protected=database.protected)
    return [verb for verb in found if _scope_for(verb) in visitor.caller.scopes]


def _scope_for(verb: str) -> Scope:
    return Scope.DATABASES_SECRETS if verb == OfDatabase.REVEAL else Scope.DATABASES_WRITE


async def _page(deps: Deps, visitor: Visitor, instance_id: str, shown: Allocation | None = None) -> dict[str, object]:
    return {
        **await _seen(deps, visitor, instance_id),
        **await of_database(deps, instance_id),
        "changed": False,
        "shown": _texts(shown) if shown else None,
    }


@dataclass(frozen=True, slots=True)
class _Shown:
    """Credentials as they are copied, each with its name: one by one, and together as clients take them."""

    values: Sequence[tuple[str, str]]
    texts: Sequence[tuple[str, str]]


def _texts(shown: Allocation) -> _Shown:
    found = shown.credentials
    return _Shown(
        values=(
            ("host", found.host),
            ("port", str(found.port)),
            ("database", found.name),
            ("user", found.user),
            ("password", found.password.reveal()),
        ),
        texts=(("DSN", uri(found)), ("psql", psql(found)), ("env", env(found))),
    )


@routes.post("/databases/{instance_id}/reveal")
async def reveal(request: Request, sent: Sends, instance_id: Instance) -> Response:
    """The page with the newest credentials on it. An event says who looked."""
    deps: Deps = request.app.state.deps
    sent.visitor.caller.must_hold((_scope_for(OfDatabase.REVEAL),))
    try:
        found = await credentials(deps, InstanceId(instance_id), sent.visitor.who)
    except ServiceError as e:
        return failed("database.html", request, sent, e, **await _page(deps, sent.visitor, instance_id))
    return page(
        "database.html", request, sent.visitor, told=None, **await _page(deps, sent.visitor, instance_id, found)
    )


@routes.post("/databases/{instance_id}/{verb}")
async def do(request: Request, sent: Sends, instance_id: Instance, verb: str) -> Response:
    """What takes it away asks for its instance; where it cannot be done, the page says why."""
    deps: Deps = request.app.state.deps
    sent.visitor.caller.must_hold((_scope_for(verb),))
    try:
        operation = await _done(deps, sent, InstanceId(instance_id), verb)
    except ServiceError as e:
        return failed("database.html", request, sent, e, **await _page(deps, sent.visitor, instance_id))
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
