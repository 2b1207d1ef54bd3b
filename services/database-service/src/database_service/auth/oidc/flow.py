"""Flow: one way to the provider and back, which is known again by what only its own browser carries."""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from database_service.domain.secret import Secret

LASTS = timedelta(minutes=10)
"""Long enough to look for a second factor."""
_RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Flow:
    """`state` comes back with the browser, `nonce` in the id token, and `verifier` is shown for the code (RFC 7636)."""

    state: Secret
    nonce: Secret
    verifier: Secret
    next: str
    """The page that was asked for."""
    until: datetime

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier beforehand (S256)."""
        digest = hashlib.sha256(self.verifier.reveal().encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def is_of(self, state: str, now: datetime) -> bool:
        """Whether an answer with this state is to this flow, and in time."""
        return now < self.until and hmac.compare_digest(state.encode(), self.state.reveal().encode())


def begin(next: str, now: datetime) -> Flow:  # noqa: A002  as the page says it
    return Flow(_random(), _random(), _random(), next, now + LASTS)


def _random() -> Secret:
    return Secret(secrets.token_urlsafe(_RANDOM_BYTES))
