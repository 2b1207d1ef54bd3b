"""Visitors: who looks at a page, and whether a form came from one of ours."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from database_service.auth.guard import caller_of, paced
from database_service.auth.oidc.people import Person
from database_service.auth.oidc.sign_in import SignIn
from database_service.auth.scopes import Scope
from database_service.auth.tokens import Caller
from database_service.deps import Deps
from database_service.domain.errors import CustomerForbidden, Unauthenticated
from database_service.domain.ids import Who
from database_service.domain.secret import Secret
from database_service.domain.web import is_same_origin
from database_service.ui.session import COOKIE, Session, opened

CSRF_FIELD = "csrf"
_SENT_AS = "application/x-www-form-urlencoded"
_MOST_FIELDS = 20


class NotSignedIn(Exception):
    """The page for signing in is the answer."""


class Forged(Exception):
    """This form did not come from a page of your session. Open the page again."""


class Garbled(Exception):
    """This is not what a form of ours sends. Open the page again."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is signed in, and what they may see and do."""

    caller: Caller
    who: Who
    session: Session

    @property
    def acts(self) -> bool:
        """Whether verbs are offered at all."""
        return Scope.ADMIN_WRITE in self.caller.scopes

    @property
    def lends(self) -> bool:
        """Whether they can make tokens: nobody lends trust for longer than they have it, and a sign-in has it for hours."""
        return isinstance(self.session.holder, Secret)


@dataclass(frozen=True, slots=True)
class Form:
    """A form that a visitor has sent from one of our pages."""

    visitor: Visitor
    fields: Mapping[str, str]


async def let_in(request: Request, token: Secret) -> Caller:
    """Who this token lets into the hub. Unauthenticated, TooManyRequests, Forbidden, CustomerForbidden."""
    caller = await caller_of(request, token)
    if caller.customer_id is not None:
        raise CustomerForbidden(caller.customer_id)
    caller.must_hold((Scope.ADMIN_READ,))
    return caller


async def _visitor(request: Request) -> Visitor:
    """NotSignedIn without a session, or where its token is valid no more."""
    deps: Deps = request.app.state.deps
    session = opened(request.cookies.get(COOKIE, ""), deps.secrets, deps.now())
    if session is None:
        raise NotSignedIn
    match session.holder:
        case Secret():
            caller = await _holder(request, session.holder)
        case Person():
            caller = _person(request, session.holder, session)
    visitor = request.state.visitor = Visitor(caller, Who(caller.name, request.state.request_id), session)
    return visitor


async def _holder(request: Request, token: Secret) -> Caller:
    try:
        return await let_in(request, token)
    except Unauthenticated as e:
        raise NotSignedIn from e


def _person(request: Request, person: Person, session: Session) -> Caller:
    """NotSignedIn where what is set now lets nobody in like this."""
    sign_in: SignIn | None = request.app.state.hub_sign_in
    caller = sign_in.caller(person, session.until) if sign_in else None
    if caller is None:
        raise NotSignedIn
    return paced(request, caller)


def seen(request: Request) -> Visitor | None:
    """Who asked, where that was found out before something went wrong."""
    return getattr(request.state, "visitor", None)


async def _form(request: Request, visitor: Annotated[Visitor, Depends(_visitor)]) -> Form:
    """Forged where it did not come from one of our pages."""
    fields = await fields_of(request)
    shown = fields.pop(CSRF_FIELD, "")
    if not hmac.compare_digest(shown.encode(), visitor.session.csrf.reveal().encode()):
        raise Forged
    return Form(visitor, fields)


async def _verb(form: Annotated[Form, Depends(_form)]) -> Form:
    """Forbidden where the visitor may only look."""
    form.visitor.caller.must_hold((Scope.ADMIN_WRITE,))
    return form


async def fields_of(request: Request) -> dict[str, str]:
    """What a form sent. Garbled where it is none. Forged where the browser says that another site's page sent it, which is all
    that can be known where nobody is signed in yet."""
    if not comes_from_us(request):
        raise Forged
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _SENT_AS:
        raise Garbled  # of the other kinds, the sender says how texts are decoded
    return _read(await request.body())


def _read(body: bytes) -> dict[str, str]:
    """UTF-8 alone, and nothing that no column takes."""
    try:
        told = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Garbled from None
    if any("\0" in text for pair in told for text in pair):
        raise Garbled
    return {name: value.strip() for name, value in told}


def is_secure(request: Request) -> bool:
    """Whether the browser asks by HTTPS, also where a proxy before us takes that off: then a cookie goes by nothing else."""
    home: str | None = request.app.state.hub_home
    return request.url.scheme == "https" or (home or "").startswith("https:")


def comes_from_us(request: Request) -> bool:
    """Whether no other site's page sent it, as far as the browser says."""
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def is_from_our_page(request: Request) -> bool:
    """Whether this form came from no other site's page, where no secret of a session says so.

    By HTTPS, and on this machine, browsers say it themselves, which no page can change. Else they say where the page was, and who
    is no browser says neither.
    """
    if "sec-fetch-site" in request.headers:
        return comes_from_us(request)
    origin = request.headers.get("origin")
    return origin is None or _is_ours(origin, request)


def _is_ours(origin: str, request: Request) -> bool:
    home: str | None = request.app.state.hub_home
    asked = f"{origin.partition(':')[0]}://{request.headers.get('host', '')}"  # a proxy may have taken HTTPS off
    return is_same_origin(origin, asked) or is_same_origin(origin, home or "")


Visits = Annotated[Visitor, Depends(_visitor)]
Leaves = Annotated[Form, Depends(_form)]
"""A form that changes nothing of the fleet."""
Sends = Annotated[Form, Depends(_verb)]
