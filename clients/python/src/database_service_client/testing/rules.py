"""What the stand-in knows of the service by heart; the service's own tests compare it with the service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from database_service_client.models import FieldError, Limits

MIB = 1024 * 1024
GIB = 1024 * MIB
DAY_S = 86400

OVERLAP_S = 3600
"""How long logins live beside a new one, unless it is said."""
MOST_LOGINS = 5
RETRY_AFTER_S = 2


@dataclass(frozen=True, slots=True)
class Plan:
    server_type: str
    may_be_dedicated: bool
    grace_s: int
    limits: Limits


def _plan(
    server_type: str,
    dedicated: bool,
    days: int,
    storage: int,
    connections: int,
    statement: int,
    idle: int,
    transaction: int,
    temp: int,
) -> Plan:
    limits = Limits(
        connections=connections, statement_timeout=statement, idle_in_transaction_timeout=idle, transaction_timeout=transaction,
        temp_file_bytes=temp, storage_bytes=storage,
    )  # fmt: skip
    return Plan(server_type, dedicated, days * DAY_S, limits)


PLANS: Mapping[str, Plan] = {
    "free": _plan("shared", False, 3, GIB, 5, 30, 60, 900, 256 * MIB),
    "starter": _plan("shared", False, 7, 5 * GIB, 10, 60, 120, 1800, 512 * MIB),
    "standard": _plan("shared", False, 7, 20 * GIB, 20, 120, 300, 3600, GIB),
    "professional": _plan("shared", True, 14, 100 * GIB, 40, 300, 600, 7200, 4 * GIB),
    "premium": _plan("dedicated", True, 30, 500 * GIB, 80, 900, 1800, 21600, 16 * GIB),
    "enterprise": _plan("dedicated", True, 30, 2048 * GIB, 160, 3600, 3600, 86400, 64 * GIB),
}

STATUS: Mapping[str, int] = {
    "adoption_changed": 409,
    "adoption_refused": 422,
    "allocation_differs": 409,
    "body_too_large": 413,
    "body_too_slow": 408,
    "confirmation_expired": 409,
    "confirmation_mismatch": 409,
    "control_database_unavailable": 503,
    "customer_forbidden": 403,
    "database_busy": 409,
    "database_gone": 410,
    "database_has_own_server": 409,
    "database_moving": 409,
    "database_not_found": 404,
    "database_not_ready": 409,
    "database_not_released": 409,
    "database_protected": 409,
    "database_released": 409,
    "drift_in_grace": 409,
    "drift_not_found": 404,
    "drift_not_removable": 409,
    "forbidden": 403,
    "internal_error": 500,
    "invalid_field": 422,
    "invalid_request": 422,
    "malformed": 400,
    "method_not_allowed": 405,
    "move_blocked": 409,
    "move_not_reversible": 409,
    "nothing_to_retry": 409,
    "name_taken": 409,
    "no_room": 409,
    "not_found": 404,
    "no_authority": 404,
    "operation_not_found": 404,
    "operation_over": 409,
    "overloaded": 503,
    "plan_has_no_dedicated": 400,
    "provisioning_failed": 503,
    "same_plan": 409,
    "same_server": 409,
    "schema_in_use": 503,
    "secret_unreadable": 500,
    "server_busy": 409,
    "server_not_active": 409,
    "server_not_empty": 409,
    "server_not_found": 404,
    "service_error": 500,
    "slots_in_use": 409,
    "tenant_database_missing": 500,
    "tenant_server_unavailable": 503,
    "token_not_found": 404,
    "too_many_logins": 409,
    "too_many_requests": 429,
    "transfer_failed": 503,
    "unauthenticated": 401,
    "unavailable": 503,
    "unknown_plan": 422,
    "unknown_template": 422,
}
"""The HTTP status of each code."""


class Refused(Exception):
    """A problem to answer with."""

    def __init__(self, code: str, detail: str, *, fields: Sequence[str] = (), retry_after: float | None = None) -> None:
        self.code = code
        self.detail = detail
        self.fields = tuple(FieldError(field=field, message=detail) for field in fields)
        self.retry_after = retry_after
        super().__init__(detail)
