"""Signing in with an API token, and out again; `oidc` is the other way in."""

import re
from posixpath import normpath
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response

from database_service.auth.oidc.sign_in import SignIn
from database_service.deps import Deps
from database_service.domain.errors import CustomerForbidden, Forbidden, ServiceError, Unauthenticated
from database_service.domain.secret import Secret
from database_service.observability import metrics
from database_service.ui.rendering import page
from database_service.ui.routing import SIGN_IN, router, see
from database_service.ui.session import COOKIE, PATH, begin, keep
from database_service.ui.visitor import Forged, Leaves, fields_of, is_from_our_page, is_secure, let_in

_PAGE = re.compile(rf"{PATH}(/(?!(sign-in|sign-out|oidc|parts|live|static)(/|\Z))[\w.-]+(/[\w.-]+)*)?", re.ASCII)
_ASKED = re.compile(r"[\w.~!$&'()*+,;=:@/?%-]*", re.ASCII)
_LONGEST_WAY = 1000
_LONGEST = 200

routes = router()


@routes.get("/sign-in")
async def sign_in_page(request: Request, next: str = PATH) -> Response:  # noqa: A002  the address says `next`
    return _page(request, 200, ours(next))


@routes.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """A session where the token may see the fleet; else the page again, with what is wrong. Forged from elsewhere."""
    deps: Deps = request.app.state.deps
    if not is_from_our_page(request):
        raise Forged
    fields = await fields_of(request)
    where = ours(fields.get("next", ""))
    try:
        token = await _shown(request, fields.get("token", ""))
    except Unauthenticated:
        return _page(request, 401, where, "Nobody has this token, or it is valid no more.")
    except (Forbidden, CustomerForbidden) as e:
        return _page(request, 403, where, str(e))
    answer, now = see(where), deps.now()
    keep(answer, begin(token, now), deps.secrets, now, secure=is_secure(request))
    return answer


async def _shown(request: Request, text: str) -> Secret:
    """The token, which lets in. What `let_in` raises."""
    try:
        if not 0 < len(text) <= _LONGEST:
            raise Unauthenticated
        token = Secret(text)
        await let_in(request, token)
    except ServiceError as e:
        metrics.signed_in("token", e.code)
        raise
    metrics.signed_in("token", "ok")
    return token


@routes.post("/sign-out")
async def sign_out(sent: Leaves) -> Response:
    answer = see(SIGN_IN)
    answer.delete_cookie(COOKIE, path=PATH)
    return answer


def _page(request: Request, status: int, where: str, told: str | None = None) -> Response:
    sign_in: SignIn | None = request.app.state.hub_sign_in
    # The whole address: the way back leads there, and only a browser that went out there finds its cookie.
    start = f"{sign_in.home}{PATH}/oidc/start?next={quote(where)}" if sign_in else None
    provider = sign_in.label if sign_in else None
    answer = page("sign_in.html", request, None, status, told=told, next=where, start=start, provider=provider)
    answer.headers["Referrer-Policy"] = "same-origin"  # with `no-referrer` browsers send the form as from nowhere
    return answer


def ours(where: str) -> str:
    """A page of the hub, and what was asked of it; whoever made the link cannot lead anywhere else."""
    path, mark, asked = where.partition("?")
    path = normpath(path)  # as browsers do, who know `..` too
    if len(where) > _LONGEST_WAY or not (_PAGE.fullmatch(path) and _ASKED.fullmatch(asked)):
        return PATH
    return f"{path}{mark}{asked}"
