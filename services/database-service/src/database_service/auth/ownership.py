"""What belongs to a customer. Asked only for callers whose token is bound to one.

An instance's id belongs to one customer for as long as it has a row, so what was looked at here still holds a moment later.
"""

import re
from uuid import UUID

from database_service.auth.tokens import Caller
from database_service.deps import Deps
from database_service.domain.errors import AskDiffers, DatabaseNotFound, OperationNotFound
from database_service.domain.ids import CALLER_ID_PATTERN, CustomerId, InstanceId, OperationId
from database_service.store import owners


async def of_database(deps: Deps, customer_id: CustomerId, instance_id: str) -> None:
    """DatabaseNotFound where the instance's database is not this customer's. What is no id is left to the route to refuse."""
    if not re.fullmatch(CALLER_ID_PATTERN, instance_id):
        return
    async with deps.db.connection() as conn:
        owner = await owners.of_instance(conn, InstanceId(instance_id))
    if owner != customer_id:
        raise DatabaseNotFound(instance_id)


async def of_operation(deps: Deps, customer_id: CustomerId, operation_id: str) -> None:
    """OperationNotFound where any of it is not this customer's. What is no id is left to the route to refuse."""
    try:
        known = OperationId(UUID(operation_id))
    except ValueError:
        return
    async with deps.db.connection() as conn:
        theirs = await owners.has_operation(conn, customer_id, known)
    if not theirs:
        raise OperationNotFound(known)


async def of_ask(deps: Deps, caller: Caller, customer_id: str, instance_id: str) -> None:
    """What a bound caller asks for is for its customer (else CustomerForbidden), and for an instance that nobody else has:
    AskDiffers otherwise, which tells no more than that."""
    caller.must_serve(customer_id)
    if caller.customer_id is None:
        return
    async with deps.db.connection() as conn:
        owner = await owners.of_instance(conn, InstanceId(instance_id))
    if owner not in (None, caller.customer_id):
        raise AskDiffers(instance_id, ("customer_id",))
