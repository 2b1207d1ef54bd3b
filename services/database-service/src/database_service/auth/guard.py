"""The guard at every route: who asks, may they, and not too often."""

from dataclasses import dataclass

from fastapi import Request

from database_service.auth.rate import Rate
from database_service.auth.scopes import Scope
from database_service.auth.tokens import Caller, Tokens, token_in
from database_service.domain.ids import Who


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was let in: by whom, and how its changes are signed."""

    caller: Caller
    who: Who


@dataclass(frozen=True)
class requires:  # noqa: N801  it reads as a word: Depends(requires(Scope.ADMIN_READ))
    """A FastAPI dependency: lets in a caller whose token holds `scope`.

    Raises Unauthenticated (401), Forbidden (403), TooManyRequests (429), ControlDatabaseUnavailable (503).
    """

    scope: Scope

    async def __call__(self, request: Request) -> Asked:
        tokens: Tokens = request.app.state.tokens
        rate: Rate = request.app.state.rate
        caller = await tokens.caller(token_in(request.headers.get("authorization")))
        rate.take(caller.token_id)
        caller.must_hold((self.scope,))
        return Asked(caller, Who(caller.name, request.state.request_id))
