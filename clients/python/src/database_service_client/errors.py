"""Everything this client raises. What the service refuses is an ApiError, with a class of its own for each `code`."""

from collections.abc import Mapping
from typing import Self

import httpx

from database_service_client import models

PASSING = frozenset({429, 502, 503, 504})


class DatabaseServiceError(Exception):
    """The base of all that this package raises on purpose."""


class Misconfigured(DatabaseServiceError):
    """The client does not know where the service is, or cannot read its token."""


class Closed(DatabaseServiceError):
    """The client was closed; it asks nothing any more."""

    def __init__(self) -> None:
        super().__init__("This client of database-service is closed.")


class Unreachable(DatabaseServiceError):
    """No answer within the budget of retries. Whether the last request arrived is not known; it may be made again."""

    def __init__(self, detail: str, request_id: str) -> None:
        self.request_id = request_id
        super().__init__(detail)


class NotReadyYet(DatabaseServiceError):
    """The time is up and the database is still in the making. Nothing is lost: ask again, it is the same one."""

    def __init__(self, seen: models.Pending | models.Database) -> None:
        self.seen = seen
        self.instance_id = seen.instance_id
        self.database_status = seen.database_status if isinstance(seen, models.Pending) else seen.status
        super().__init__(
            f"The database of instance {seen.instance_id!r} is not ready yet: it is {self.database_status}."
        )


class OperationNotDone(DatabaseServiceError):
    """A piece of long work that was waited for has not succeeded; `operation` is as it was seen last."""

    def __init__(self, operation: models.OperationRecord) -> None:
        self.operation = operation
        why = f": {operation.error}" if operation.error else "."
        super().__init__(f"The {operation.kind} {operation.id} is {operation.state}{why}")


class OperationFailed(OperationNotDone):
    """It failed; what it says is why, and what it left behind."""


class OperationCancelled(OperationNotDone):
    """Somebody cancelled it."""


class OperationNotOver(OperationNotDone):
    """The time is up and it still runs, or rests. Wait again."""


# -- what the service answers -----------------------------------------------------------------------------------------


class ApiError(DatabaseServiceError):
    """An answer that is no success. A code that this version does not know is just an ApiError."""

    code: str = ""
    """Stable; what to act on."""

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        fields: tuple[models.FieldError, ...] = (),
    ) -> None:
        self.code = code or self.code
        self.detail = detail
        """One sentence that names what is wrong."""
        self.status = status
        """The HTTP status."""
        self.request_id = request_id
        """Leads to this request in the service's log and events."""
        self.retry_after = retry_after
        """Seconds after which asking again makes sense, where the service says so."""
        self.fields = fields
        """What is wrong with which field of the request."""
        super().__init__(f"{detail} ({self.code}, request {request_id})" if request_id else f"{detail} ({self.code})")

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed later, with nobody doing anything about it."""
        return self.status in PASSING


class UnexpectedAnswer(ApiError):
    """Whoever answered does not speak this API: another service, or a proxy on the way."""

    code = "unexpected_answer"

    @classmethod
    def to(cls, response: httpx.Response, what: str) -> Self:
        asked = response.request
        return cls(
            f"The answer {response.status_code} to {asked.method} {asked.url.path} {what}.",
            status=response.status_code,
            request_id=response.headers.get("x-request-id"),
            retry_after=_retry_after(response),
        )


# -- the request cannot be met as it stands ----------------------------------------------------------------------------


class UnknownPlan(ApiError):
    """There is no such plan."""

    code = "unknown_plan"


class UnknownTemplate(ApiError):
    """There is no such template."""

    code = "unknown_template"


class PlanHasNoDedicated(ApiError):
    """The plan does not include a dedicated server."""

    code = "plan_has_no_dedicated"


class InvalidField(ApiError):
    """A field has a value that cannot be; `fields` names it."""

    code = "invalid_field"


class InvalidRequest(ApiError):
    """The request is not as the contract says; `fields` names what is wrong."""

    code = "invalid_request"


class Malformed(ApiError):
    """The request could not be read at all."""

    code = "malformed"


class BodyTooSlow(ApiError):
    """The body did not come in time."""

    code = "body_too_slow"


class BodyTooLarge(ApiError):
    """The body is longer than the service accepts."""

    code = "body_too_large"


class MethodNotAllowed(ApiError):
    """The path has no such method: client and service are of different versions."""

    code = "method_not_allowed"


class HttpError(ApiError):
    """An HTTP error without a meaning of its own here."""

    code = "http_error"


# -- it is not there, or no longer -------------------------------------------------------------------------------------


class NotFound(ApiError):
    """There is no such path: client and service are of different versions, or the address is another service's."""

    code = "not_found"


class DatabaseNotFound(ApiError):
    """The instance has no database."""

    code = "database_not_found"


class ServerNotFound(ApiError):
    """There is no such server."""

    code = "server_not_found"


class TokenNotFound(ApiError):
    """There is no such token."""

    code = "token_not_found"


class DriftNotFound(ApiError):
    """There is no such drift."""

    code = "drift_not_found"


class NoAuthority(ApiError):
    """No server speaks TLS yet, so there is no authority to trust."""

    code = "no_authority"


class OperationNotFound(ApiError):
    """There is no such operation."""

    code = "operation_not_found"


class DatabaseGone(ApiError):
    """The database was released and its data is deleted."""

    code = "database_gone"


# -- it is there, but not in a state that allows this ------------------------------------------------------------------


class AllocationDiffers(ApiError):
    """The instance already has a database that was asked for with something else."""

    code = "allocation_differs"


class DatabaseReleased(ApiError):
    """It is released; `undelete` takes it back."""

    code = "database_released"


class DatabaseNotReady(ApiError):
    """It is still in the making."""

    code = "database_not_ready"


class DatabaseNotReleased(ApiError):
    """Only a released one can be undeleted."""

    code = "database_not_released"


class DatabaseProtected(ApiError):
    """It is protected against deletion."""

    code = "database_protected"


class DatabaseMoving(ApiError):
    """It is on its way to another server; that takes seconds."""

    code = "database_moving"


class DatabaseBusy(ApiError):
    """It is part of an operation that is not over."""

    code = "database_busy"


class DatabaseHasOwnServer(ApiError):
    """It has a server of its own, which it leaves by a change of its plan only."""

    code = "database_has_own_server"


class SameServer(ApiError):
    """It is on that server already."""

    code = "same_server"


class NoRoom(ApiError):
    """That server has no free slot."""

    code = "no_room"


class SamePlan(ApiError):
    """It has this plan already, on that kind of server."""

    code = "same_plan"


class MoveBlocked(ApiError):
    """It cannot be moved as it is; the detail says what is in the way."""

    code = "move_blocked"


class MoveNotReversible(ApiError):
    """There is nothing to go back to; the detail says why."""

    code = "move_not_reversible"


class NothingToRetry(ApiError):
    """There is nothing to try again; the detail says why."""

    code = "nothing_to_retry"


class TooManyLogins(ApiError):
    """It has as many live logins as it may; wait until one expires."""

    code = "too_many_logins"


class ServerNotEmpty(ApiError):
    """The server still holds databases."""

    code = "server_not_empty"


class ServerNotActive(ApiError):
    """Only an active server can be changed."""

    code = "server_not_active"


class ServerBusy(ApiError):
    """The server is part of an operation that is not over."""

    code = "server_busy"


class SlotsInUse(ApiError):
    """The server has more slots in use than it shall have."""

    code = "slots_in_use"


class OperationOver(ApiError):
    """It is over, and can no longer be steered."""

    code = "operation_over"


class AdoptionRefused(ApiError):
    """The server to adopt cannot be reached, is too old, or is not ours to administer."""

    code = "adoption_refused"


class AdoptionChanged(ApiError):
    """The server to adopt no longer looks as it did when it was confirmed."""

    code = "adoption_changed"


class DriftNotRemovable(ApiError):
    """It is reported only, or already gone."""

    code = "drift_not_removable"


class DriftInGrace(ApiError):
    """Its grace is not over."""

    code = "drift_in_grace"


class ConfirmationMismatch(ApiError):
    """The confirmation is not for what is there now."""

    code = "confirmation_mismatch"


class ConfirmationExpired(ApiError):
    """The confirmation is too old; ask for a new one."""

    code = "confirmation_expired"


class NameTaken(ApiError):
    """Something of that name is on the server and is not the service's."""

    code = "name_taken"


# -- who asks ----------------------------------------------------------------------------------------------------------


class Unauthenticated(ApiError):
    """There is no token, or it is not valid (any more)."""

    code = "unauthenticated"


class Forbidden(ApiError):
    """The token lacks the scope."""

    code = "forbidden"


class CustomerForbidden(ApiError):
    """The token is bound to another customer."""

    code = "customer_forbidden"


class TooManyRequests(ApiError):
    """The token asks too often."""

    code = "too_many_requests"


# -- something the service depends on, or the service itself -----------------------------------------------------------


class Unavailable(ApiError):
    """A dependency does not answer; nothing was half-written and the same call may be made again."""

    code = "unavailable"


class Overloaded(Unavailable):
    """More is asked than can be served in time; nothing was begun."""

    code = "overloaded"


class ControlDatabaseUnavailable(Unavailable):
    """The control plane's own database does not answer."""

    code = "control_database_unavailable"


class SchemaInUse(Unavailable):
    """Somebody holds a table that is to be changed."""

    code = "schema_in_use"


class TenantServerUnavailable(Unavailable):
    """The server that holds the database does not answer."""

    code = "tenant_server_unavailable"


class TenantDatabaseMissing(ApiError):
    """The database is not on its server; only an operator can help."""

    code = "tenant_database_missing"


class SecretUnreadable(ApiError):
    """A sealed secret cannot be opened; only an operator can help."""

    code = "secret_unreadable"


class ProvisioningFailed(ApiError):
    """A server could not be made or started."""

    code = "provisioning_failed"


class TransferFailed(ApiError):
    """A database could not be copied to another server; it stays where it is."""

    code = "transfer_failed"


class ServiceError(ApiError):
    """An error without a meaning of its own."""

    code = "service_error"


class InternalError(ApiError):
    """A defect; the request id leads to it in the service's log."""

    code = "internal_error"


# -- from an answer to its error --------------------------------------------------------------------------------------


def _below(kind: type[ApiError]) -> list[type[ApiError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _below(below))]


BY_CODE: Mapping[str, type[ApiError]] = {kind.code: kind for kind in _below(ApiError) if kind.code}


def error_of(response: httpx.Response) -> ApiError:
    """What this answer, which is no success, means."""
    try:
        problem = models.parse(models.Problem, response.content)
    except models.Mismatch:
        return UnexpectedAnswer.to(response, "is no problem that this service would tell of")
    return BY_CODE.get(problem.code, ApiError)(
        problem.detail,
        status=response.status_code,
        code=problem.code,
        request_id=problem.request_id,
        retry_after=_retry_after(response),
        fields=problem.errors or (),
    )


def _retry_after(response: httpx.Response) -> float | None:
    """In its form as seconds, which is what the service sends."""
    told: str = response.headers.get("retry-after", "")
    return float(told) if told.isdecimal() else None
