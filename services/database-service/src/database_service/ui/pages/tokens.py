"""API tokens: who has one, what for, and since when it was not used."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import Response

from database_service.actions.tokens import issue, revoke
from database_service.auth.scopes import Scope
from database_service.deps import Deps
from database_service.domain.answers import Token
from database_service.domain.errors import InvalidField, ServiceError
from database_service.domain.ids import CustomerId, TokenId
from database_service.domain.secret import Secret
from database_service.ui.fields import caller_id, line, named, number, or_none
from database_service.ui.rendering import page
from database_service.ui.routing import failed, router, see
from database_service.ui.session import PATH
from database_service.ui.visitor import Form, Sends, Visits
from database_service.views import tokens

TOKENS = f"{PATH}/tokens"

routes = router()


@routes.get("/tokens")
async def newest(
    request: Request, visitor: Visits, before: Annotated[UUID | None, or_none, Query()] = None
) -> Response:
    """A page of them; `before` is the last one of the page before."""
    visitor.caller.must_hold((Scope.ADMIN_WRITE,))
    shown = await _shown(request.app.state.deps, TokenId(before) if before else None)
    return page("tokens.html", request, visitor, told=None, new=None, **shown)


async def _shown(deps: Deps, before: TokenId | None = None) -> dict[str, object]:
    found = await tokens.page(deps, before=before)
    return {"found": found, "before": before, "scopes": list(Scope), "now": deps.now()}


@routes.post("/tokens")
async def issue_one(request: Request, sent: Sends) -> Response:
    """The page with the token's text, which is shown this once."""
    deps: Deps = request.app.state.deps
    try:
        made, text = await _issued(deps, sent)
    except ServiceError as e:
        return failed("tokens.html", request, sent, e, new=None, **await _shown(deps))
    return page("tokens.html", request, sent.visitor, 201, told=None, new=(made, text.reveal()), **await _shown(deps))


async def _issued(deps: Deps, sent: Form) -> tuple[Token, Secret]:
    caller, fields = sent.visitor.caller, sent.fields
    wanted = [scope for scope in Scope if fields.get(scope) == "on"]
    caller.must_hold(wanted)
    customer, days = caller_id(fields, "customer"), number(fields, "days", 1, 3650)
    name = line(fields, "name")
    if name is None:
        raise InvalidField("name", "must not be empty: events are signed with it")
    return await issue(
        deps,
        name,
        wanted,
        deps.now() + timedelta(days=days) if days else None,
        sent.visitor.who,
        customer_id=CustomerId(customer) if customer else None,
        until=caller.expires_at,
    )


@routes.post("/tokens/{token_id}/revoke")
async def revoke_one(request: Request, sent: Sends, token_id: UUID) -> Response:
    """Only with its name, so that it is the one that is meant."""
    deps: Deps = request.app.state.deps
    try:
        meant = await tokens.one(deps, TokenId(token_id))
        named(sent.fields, meant.name)
        await revoke(deps, meant.id, sent.visitor.who)
    except ServiceError as e:
        return failed("tokens.html", request, sent, e, new=None, **await _shown(deps))
    return see(TOKENS)
