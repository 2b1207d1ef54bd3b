"""Signing in with an API token, and out again."""

import re

from fastapi import Request
from fastapi.responses import Response

from database_service.deps import Deps
from database_service.domain.errors import CustomerForbidden, Forbidden, Unauthenticated
from database_service.domain.secret import Secret
from database_service.ui.rendering import page
from database_service.ui.routing import SIGN_IN, router, see
from database_service.ui.session import COOKIE, LASTS, PATH, begin, sealed
from database_service.ui.visitor import Leaves, fields_of, let_in

_OURS = re.compile(rf"{PATH}(/[\w./-]*)?", re.ASCII)
_LONGEST = 200

routes = router()


@routes.get("/sign-in")
async def sign_in_page(request: Request, next: str = PATH) -> Response:  # noqa: A002  the address says `next`
    return page("sign_in.html", request, None, told=None, next=_ours(next))


@routes.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """A session where the token may see the fleet; else the page again, with what is wrong."""
    deps: Deps = request.app.state.deps
    fields = await fields_of(request)
    where, text = _ours(fields.get("next", "")), fields.get("token", "")
    try:
        if not 0 < len(text) <= _LONGEST:
            raise Unauthenticated
        token = Secret(text)
        await let_in(request, token)
    except Unauthenticated:
        told = "Nobody has this token, or it is valid no more."
        return page("sign_in.html", request, None, 401, told=told, next=where)
    except (Forbidden, CustomerForbidden) as e:
        return page("sign_in.html", request, None, 403, told=str(e), next=where)
    answer = see(where)
    answer.set_cookie(
        COOKIE,
        sealed(begin(token, deps.now()), deps.secrets),
        max_age=int(LASTS.total_seconds()),
        path=PATH,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return answer


@routes.post("/sign-out")
async def sign_out(sent: Leaves) -> Response:
    answer = see(SIGN_IN)
    answer.delete_cookie(COOKIE, path=PATH)
    return answer


def _ours(where: str) -> str:
    """A page of the hub; whoever made the link cannot lead anywhere else."""
    return where if _OURS.fullmatch(where) else PATH
