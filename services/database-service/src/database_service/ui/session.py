"""Sessions: who is signed in, in a sealed cookie. Nothing is stored here: the token in it is checked at every request, so
a session ends when its token does."""

import base64
import binascii
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from database_service.domain.errors import SecretUnreadable
from database_service.domain.secret import Secret
from database_service.secretbox import SecretBox

COOKIE = "dbs_session"
PATH = "/admin"
LASTS = timedelta(hours=8)
_PLACE = "a session of the hub"


@dataclass(frozen=True, slots=True)
class Session:
    """Of one sign-in. `csrf` is in every form of its pages, and nobody else knows it."""

    token: Secret
    csrf: Secret
    until: datetime


def begin(token: Secret, now: datetime) -> Session:
    return Session(token, Secret(secrets.token_urlsafe(24)), now + LASTS)


def sealed(session: Session, box: SecretBox) -> str:
    """What the cookie holds; readable by who has the key ring, and by nobody else."""
    told = [session.token.reveal(), session.csrf.reveal(), session.until.timestamp()]
    return base64.urlsafe_b64encode(box.seal(Secret(json.dumps(told)), _PLACE)).decode()


def opened(cookie: str, box: SecretBox, now: datetime) -> Session | None:
    """None where it is none of ours, was changed, or is over."""
    try:
        told = json.loads(box.open(base64.urlsafe_b64decode(cookie), _PLACE).reveal())
    except (binascii.Error, ValueError, SecretUnreadable):
        return None
    token, csrf, until = told
    session = Session(Secret(token), Secret(csrf), datetime.fromtimestamp(until, UTC))
    return session if now < session.until else None
