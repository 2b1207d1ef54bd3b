"""Whose an instance and an operation are."""

from database_service.domain.ids import CustomerId, InstanceId, OperationId
from database_service.store.pool import Conn

OF_INSTANCE = """
SELECT coalesce((SELECT customer_id FROM databases WHERE instance_id = $1),
                (SELECT customer_id FROM servers WHERE instance_id = $1 AND status NOT IN ('deprovisioning', 'gone')))"""


async def of_instance(conn: Conn, instance_id: InstanceId) -> CustomerId | None:
    """The customer of its database, or of the dedicated server that was ordered for it; None where there is neither."""
    owner: CustomerId | None = await conn.fetchval(OF_INSTANCE, instance_id)
    return owner


def works_for(operation: str, customer: str) -> str:
    """SQL: whether every step of this operation works on what is this customer's; NULL where it has none."""
    return f"""(
SELECT bool_and(coalesce(d.customer_id, s.customer_id) IS NOT DISTINCT FROM {customer})
FROM operation_steps p LEFT JOIN databases d ON d.id = p.subject_id LEFT JOIN servers s ON s.id = p.subject_id
WHERE p.operation_id = {operation})"""


HAS_OPERATION = f"SELECT coalesce({works_for('$1', '$2')}, false)"


async def has_operation(conn: Conn, customer_id: CustomerId, operation_id: OperationId) -> bool:
    """Whether all that it works on is this customer's."""
    has: bool = await conn.fetchval(HAS_OPERATION, operation_id, customer_id)
    return has
