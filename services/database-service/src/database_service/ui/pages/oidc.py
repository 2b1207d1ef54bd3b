"""Signing in by OpenID Connect: out to the provider, and back from it.

A link and not a form leads there: the policy of our pages lets forms end up on our own site alone.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import structlog
from fastapi import Query, Request
from fastapi.responses import Response

from database_service.auth.guard import address_of, paced
from database_service.auth.oidc import flow as flows
from database_service.auth.oidc.errors import (
    NoRole,
    ProviderMistrusted,
    ProviderUnavailable,
    SignInFailed,
    SignInRefused,
    SignInStale,
)
from database_service.auth.oidc.flow import Flow
from database_service.auth.oidc.people import Person
from database_service.auth.oidc.sign_in import SignIn
from database_service.deps import Deps
from database_service.domain.errors import ServiceError, Unavailable
from database_service.domain.secret import Secret
from database_service.observability import metrics
from database_service.secretbox import SecretBox
from database_service.ui import sealing, session
from database_service.ui.pages.signing_in import ours
from database_service.ui.routing import SIGN_IN, StatusOf, error_page, router, see
from database_service.ui.session import PATH, begin
from database_service.ui.visitor import comes_from_us, is_secure

COOKIE = "dbs_sign_in"
_HERE = f"{PATH}/oidc"
CALLBACK = f"{_HERE}/callback"
_PLACE = "a way to the provider and back"

_CODE = re.compile(r"[a-z_]{1,60}")

log = structlog.get_logger(__name__)

routes = router()

Word = Annotated[str, Query(max_length=4096)]


@routes.get("/oidc/start")
async def start(request: Request, next: str = PATH) -> Response:  # noqa: A002  the address says `next`
    """To the provider; by way of the page for signing in where another site's page led here."""
    deps, sign_in = _given(request)
    if not comes_from_us(request):
        return see(f"{SIGN_IN}?next={quote(ours(next))}")
    flow = flows.begin(ours(next), deps.now())
    try:
        answer = see(await sign_in.provider.address(flow))
    except (SignInFailed, ServiceError) as e:
        return _failed(request, e)
    answer.set_cookie(
        COOKIE,
        _sealed(flow, deps.secrets),
        max_age=int(flows.LASTS.total_seconds()),
        path=_HERE,
        secure=is_secure(request),
        httponly=True,
        samesite="lax",  # the way back is a link on the provider's page
    )
    return answer


@routes.get("/oidc/callback")
async def callback(request: Request, state: Word = "", code: Word = "", error: Word = "", iss: Word = "") -> Response:
    """A session for who comes back with what they went out with; else a page that says what is wrong, and no session."""
    try:
        flow = _flow(request, state)
    except SignInStale as e:
        return _failed(request, e)  # what this browser went out with may still come back
    try:
        person = await _person(request, flow, code, error, iss)
    except (ProviderUnavailable, Unavailable) as e:
        return _failed(request, e)  # the same address may be loaded again: nothing is used up, as far as we know
    except (SignInFailed, ServiceError) as e:
        answer = _failed(request, e)
    else:
        answer = _signed_in(request, person, flow)
    answer.delete_cookie(COOKIE, path=_HERE)
    return answer


def _flow(request: Request, state: str) -> Flow:
    """That this browser was sent out with. SignInStale where there is none, or the answer is to another one."""
    deps, _ = _given(request)
    flow = _opened(request.cookies.get(COOKIE, ""), deps.secrets)
    if flow is None or not flow.is_of(state, deps.now()):
        raise SignInStale
    return flow


async def _person(request: Request, flow: Flow, code: str, error: str, issuer: str) -> Person:
    """SignInRefused where the provider says so, and what `SignIn.person` raises."""
    deps, sign_in = _given(request)
    if issuer not in ("", sign_in.provider.client.issuer):
        # RFC 9207
        raise ProviderMistrusted("This answer is from another identity provider than the one that was asked.")
    if error or not code:
        raise SignInRefused(_refusal(error))
    return await sign_in.person(Secret(code), flow, deps.now, address_of(request))


def _refusal(error: str) -> str:
    """What stands in an address may be anybody's, so only what looks like a code of the standards is repeated."""
    if error == "access_denied":
        return "The identity provider did not let you in, or you turned back there."
    known = error if _CODE.fullmatch(error) else "without a reason"
    return f"The identity provider refused this sign-in: {known}."


def _signed_in(request: Request, person: Person, flow: Flow) -> Response:
    deps, sign_in = _given(request)
    now = deps.now()
    begun = begin(person, now, sign_in.lasts)
    paced(request, sign_in.roles.caller(person, begun.until))  # who it is, for the request log
    answer = see(flow.next)
    session.keep(answer, begun, deps.secrets, now, secure=is_secure(request))
    metrics.signed_in("oidc", "ok")
    log.info("hub.signed_in", who=person.name)
    return answer


def _failed(request: Request, error: SignInFailed | ServiceError) -> Response:
    metrics.signed_in("oidc", error.code)
    log.info("hub.sign_in_failed", why=error.code, told=str(error))
    status_of: StatusOf = request.app.state.hub_status_of
    status = _STATUS[type(error)] if isinstance(error, SignInFailed) else status_of(error)
    return error_page(request, status, str(error))


_STATUS: Mapping[type[SignInFailed], int] = {
    SignInStale: 400,
    SignInRefused: 403,
    NoRole: 403,
    ProviderMistrusted: 502,
    ProviderUnavailable: 503,
}


def _given(request: Request) -> tuple[Deps, SignIn]:
    return request.app.state.deps, request.app.state.hub_sign_in


def _sealed(flow: Flow, box: SecretBox) -> str:
    told = [flow.state.reveal(), flow.nonce.reveal(), flow.verifier.reveal(), flow.next, flow.until.timestamp()]
    return sealing.sealed(told, _PLACE, box)


def _opened(cookie: str, box: SecretBox) -> Flow | None:
    match sealing.opened(cookie, _PLACE, box):
        case [state, nonce, verifier, next_, until]:
            return Flow(Secret(state), Secret(nonce), Secret(verifier), next_, datetime.fromtimestamp(until, UTC))
        case _:
            return None
