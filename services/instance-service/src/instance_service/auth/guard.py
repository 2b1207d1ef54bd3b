"""The guard at every route that is not open: one token, compared in constant time."""

import hashlib
import hmac

from fastapi import Request

from instance_service.domain.errors import Unauthenticated
from instance_service.domain.ids import Who
from instance_service.domain.secret import Secret

CALLER = "token"
"""The actor of what a caller changes: there is one token, so there is one name."""
_LONGEST = 200


class Guard:
    """Lets in who shows `token`."""

    def __init__(self, token: Secret) -> None:
        self._digest = _digest(token.reveal())

    def check(self, header: str | None) -> None:
        """Unauthenticated where `header` is no `Bearer` with the token."""
        scheme, _, text = (header or "").partition(" ")
        shown = text.strip()
        if scheme.lower() != "bearer" or len(shown) > _LONGEST or not hmac.compare_digest(_digest(shown), self._digest):
            raise Unauthenticated


async def let_in(request: Request) -> Who:
    """A FastAPI dependency: who asks, or Unauthenticated (401)."""
    guard: Guard = request.app.state.guard
    guard.check(request.headers.get("authorization"))
    return Who(CALLER, request.state.request_id)


def _digest(text: str) -> bytes:
    """Of equal length whatever was sent, so that comparing tells nothing of lengths either."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
