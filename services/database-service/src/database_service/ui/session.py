"""Sessions: who is signed in, in a sealed cookie. Nothing is stored here.

A token in it is checked at every request, so such a session ends when its token does. A person's says who they are and which of
their roles counted: what those allow is looked up at every request, and the provider is not asked again.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fastapi.responses import Response

from database_service.auth.oidc.people import Person
from database_service.domain.secret import Secret
from database_service.secretbox import SecretBox
from database_service.ui import sealing

COOKIE = "dbs_session"
PATH = "/admin"
LASTS = timedelta(hours=8)
_PLACE = "a session of the hub"


@dataclass(frozen=True, slots=True)
class Session:
    """Of one sign-in. `csrf` is in every form of its pages, and nobody else knows it."""

    holder: Secret | Person
    """The token that was shown, or who was vouched for."""
    csrf: Secret
    until: datetime


def begin(holder: Secret | Person, now: datetime, lasts: timedelta = LASTS) -> Session:
    return Session(holder, Secret(secrets.token_urlsafe(24)), now + lasts)


def keep(answer: Response, session: Session, box: SecretBox, now: datetime, *, secure: bool) -> None:
    """In the browser that gets this answer."""
    answer.set_cookie(
        COOKIE,
        sealed(session, box),
        max_age=int((session.until - now).total_seconds()),
        path=PATH,
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def sealed(session: Session, box: SecretBox) -> str:
    """What the cookie holds; readable by who has the key ring, and by nobody else."""
    return sealing.sealed([_told(session.holder), session.csrf.reveal(), session.until.timestamp()], _PLACE, box)


def _told(holder: Secret | Person) -> object:
    match holder:
        case Secret():
            return holder.reveal()
        case Person():
            return [holder.issuer, holder.subject, holder.called, *holder.values]


def opened(cookie: str, box: SecretBox, now: datetime) -> Session | None:
    """None where it is none of ours, was changed, or is over."""
    match sealing.opened(cookie, _PLACE, box):
        case [str(token), csrf, until]:
            holder: Secret | Person = Secret(token)
        case [[issuer, subject, called, *values], csrf, until]:
            holder = Person(issuer, subject, called, tuple(values))
        case _:
            return None
    session = Session(holder, Secret(csrf), datetime.fromtimestamp(until, UTC))
    return session if now < session.until else None
