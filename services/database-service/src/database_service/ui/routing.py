"""Routes of the hub: what goes wrong in one becomes a page, and not a problem document."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute

from database_service.domain.errors import ServiceError
from database_service.ui.rendering import HEADERS, page
from database_service.ui.session import PATH
from database_service.ui.visitor import Forged, Form, Garbled, NotSignedIn, seen

SIGN_IN = f"{PATH}/sign-in"
StatusOf = Callable[[ServiceError], int]
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class _PageRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except NotSignedIn:
                return _to_sign_in(request)
            except Forged as e:
                return error_page(request, 403, str(e.__doc__))
            except Garbled as e:
                return error_page(request, 400, str(e.__doc__))
            except RequestValidationError as e:
                return _misread(request, e)
            except ServiceError as e:
                status_of: StatusOf = request.app.state.hub_status_of
                return error_page(request, status_of(e), str(e))

        return handled


def _misread(request: Request, error: RequestValidationError) -> Response:
    """No page is at an address that reads like none; what is asked of one may be wrong, and is named."""
    asked = [(str(each["loc"][-1]), each["msg"]) for each in error.errors() if each["loc"][0] == "query"]
    if len(asked) < len(error.errors()):
        return error_page(request, 404, "There is no such page.")
    told = " ".join(f"{name!r} in the address is wrong: {what[:1].lower()}{what[1:]}." for name, what in asked)
    return error_page(request, 422, told, request.url.path)


def router() -> APIRouter:
    """One whose routes are pages; not a part of the API's contract."""
    return APIRouter(prefix=PATH, route_class=_PageRoute, include_in_schema=False)


def beyond(pages: Sequence[APIRoute]) -> APIRouter:
    """What answers below `/admin` where none of these does: a page too."""

    def methods(path: str) -> set[str]:
        return {each for route in pages if route.path_regex.match(path) for each in route.methods or ()}

    async def nowhere(request: Request) -> Response:
        path = request.scope["path"]
        known = methods(path)
        if request.method == "GET" and known:
            # Where a form was sent to, which stays in the address when it was refused.
            return see(_above(path, methods))
        if request.method == "GET" and path.endswith("/"):
            return see(path.rstrip("/"))
        if not known:
            return error_page(request, 404, "There is no such page.")
        answer = error_page(request, 405, "Nothing here is asked like that.")
        answer.headers["Allow"] = ", ".join(sorted(known))
        return answer

    rest = router()
    for path in ("", "/{rest:path}"):
        rest.add_api_route(path, nowhere, methods=_METHODS)
    return rest


def _above(path: str, methods: Callable[[str], set[str]]) -> str:
    """The page of the thing that a verb is of."""
    while "GET" not in methods(path):
        path = path.rpartition("/")[0]
    return path


def see(where: str) -> RedirectResponse:
    """After a form: its answer is a page, which may be loaded again without sending the form again."""
    return RedirectResponse(where, 303, dict(HEADERS))


def error_page(request: Request, status: int, told: str, instead: str | None = None) -> Response:
    """`instead` is where to go from here, beside the hub."""
    return page("error.html", request, seen(request), status, title=title(status), told=told, instead=instead)


def failed(template: str, request: Request, sent: Form, error: ServiceError, /, **shown: object) -> Response:
    """The page that a form was on, with what was wrong with it, and in the form what was entered."""
    status_of: StatusOf = request.app.state.hub_status_of

    def entered(action: str, name: str) -> str:
        return sent.fields.get(name, "") if action == request.url.path else ""

    return page(
        template, request, sent.visitor, status_of(error), told=str(error), refused=True, entered=entered, **shown
    )


def _to_sign_in(request: Request) -> Response:
    if request.headers.get("hx-request"):  # a part of a page cannot be the page for signing in
        return Response(status_code=401, headers={**HEADERS, "HX-Redirect": SIGN_IN})
    if request.method != "GET" or request.url.path == PATH:
        return see(SIGN_IN)
    asked = f"?{request.url.query}" if request.url.query else ""
    return see(f"{SIGN_IN}?next={quote(request.url.path + asked)}")


_TITLES: Mapping[int, str] = {
    400: "Not understood",
    403: "Forbidden",
    404: "Not found",
    405: "Not so",
    409: "Not now",
    410: "Gone",
    422: "Not understood",
    429: "Too many requests",
    502: "Not to be trusted",
    503: "Unavailable",
}


def title(status: int) -> str:
    return _TITLES.get(status, "Something went wrong")
