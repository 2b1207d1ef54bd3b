"""The guard at every route: who asks, may they, is it theirs, and not too often."""

from dataclasses import dataclass

from fastapi import Request

from database_service.auth import ownership
from database_service.auth.rate import Rate, neighbourhood
from database_service.auth.scopes import Scope
from database_service.auth.tokens import Caller, Tokens, token_in
from database_service.deps import Deps
from database_service.domain.errors import CustomerForbidden
from database_service.domain.ids import CustomerId, TokenId, Who
from database_service.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was let in: by whom, and how its changes are signed."""

    caller: Caller
    who: Who


@dataclass(frozen=True)
class requires:  # noqa: N801  it reads as a word: Depends(requires(Scope.ADMIN_READ))
    """A FastAPI dependency: lets in a caller whose token holds `scope`, and whose the thing in the path is.

    Another customer's database or operation is not found, exactly as one that is not there. A route that names neither in
    its path lets in a token that is bound to a customer only if it says that it keeps such a caller to its customer itself.
    Raises Unauthenticated (401), Forbidden, CustomerForbidden (403), DatabaseNotFound, OperationNotFound (404),
    TooManyRequests (429), ControlDatabaseUnavailable (503).
    """

    scope: Scope
    keeps_to_customer: bool = False

    async def __call__(self, request: Request) -> Asked:
        caller = await caller_of(request, token_in(request.headers.get("authorization")))
        caller.must_hold((self.scope,))
        if caller.customer_id is not None:
            await self._keep_to(caller.customer_id, request)
        return Asked(caller, Who(caller.name, request.state.request_id))

    async def _keep_to(self, customer_id: CustomerId, request: Request) -> None:
        deps: Deps = request.app.state.deps
        match request.path_params:
            case {"instance_id": instance_id}:
                await ownership.of_database(deps, customer_id, instance_id)
            case {"operation_id": operation_id}:
                await ownership.of_operation(deps, customer_id, operation_id)
            case _ if not self.keeps_to_customer:
                raise CustomerForbidden(customer_id)


async def caller_of(request: Request, token: Secret) -> Caller:
    """Who shows this token with this request, which its rate allows. Unauthenticated, TooManyRequests,
    ControlDatabaseUnavailable."""
    tokens: Tokens = request.app.state.tokens
    return paced(request, await tokens.caller(token, address_of(request)))


def paced(request: Request, caller: Caller) -> Caller:
    """The same, whose rate allows this request; TooManyRequests."""
    rate: Rate[TokenId] = request.app.state.rate
    request.state.caller = caller  # known from here on, also where it is refused
    left = request.state.rate_left = rate.spend(caller.token_id)
    left.must_do()
    return caller


def address_of(request: Request) -> str:
    """Whom this request's address stands for."""
    return neighbourhood(request.client.host) if request.client else ""
