"""Everything that can go wrong on purpose, each with a stable `code`. Doors decide how to say it (HTTP, exit code)."""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar


class ServiceError(Exception):
    """The base of all errors a caller may see. The message is one sentence that names what is wrong."""

    code: ClassVar[str] = "service_error"


# -- the request cannot be met as it stands ---------------------------------------------------------------------------


class UnknownPlan(ServiceError):
    code = "unknown_plan"

    def __init__(self, tier: str, known: tuple[str, ...]) -> None:
        super().__init__(f"There is no plan {tier!r}; the plans are {', '.join(known)}.")


class UnknownTemplate(ServiceError):
    code = "unknown_template"

    def __init__(self, template: str) -> None:
        super().__init__(f"There is no template {template!r}; the only template is 'default'.")


class PlanHasNoDedicated(ServiceError):
    code = "plan_has_no_dedicated"

    def __init__(self, tier: str) -> None:
        super().__init__(f"The plan '{tier}' does not include a dedicated server.")


class InvalidField(ServiceError):
    code = "invalid_field"

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        super().__init__(f"{field}: {problem}")


# -- it is not there, or no longer ------------------------------------------------------------------------------------


class DatabaseNotFound(ServiceError):
    code = "database_not_found"

    def __init__(self, instance: str) -> None:
        super().__init__(f"Instance {instance!r} has no database.")


class ServerNotFound(ServiceError):
    code = "server_not_found"

    def __init__(self, server: object) -> None:
        super().__init__(f"There is no server {server}.")


class TokenNotFound(ServiceError):
    code = "token_not_found"

    def __init__(self, token: object) -> None:
        super().__init__(f"There is no token {token}.")


class DriftNotFound(ServiceError):
    code = "drift_not_found"

    def __init__(self, drift: object) -> None:
        super().__init__(f"There is no drift {drift}.")


class NoAuthority(ServiceError):
    code = "no_authority"

    def __init__(self) -> None:
        super().__init__("No server speaks TLS yet, so there is no authority to trust.")


class OperationNotFound(ServiceError):
    code = "operation_not_found"

    def __init__(self, operation: object) -> None:
        super().__init__(f"There is no operation {operation}.")


class DatabaseGone(ServiceError):
    code = "database_gone"

    def __init__(self, instance: str) -> None:
        super().__init__(f"The database of instance {instance!r} was released and its data is deleted.")


# -- it is there, but not in a state that allows this -----------------------------------------------------------------


class AskDiffers(ServiceError):
    code = "allocation_differs"

    def __init__(self, instance: str, fields: tuple[str, ...]) -> None:
        super().__init__(
            f"Instance {instance!r} already has a database that was asked for with another {', '.join(fields)}."
        )


class DatabaseReleased(ServiceError):
    code = "database_released"

    def __init__(self, instance: str, until: datetime | None) -> None:
        when = f" until {until.isoformat(timespec='seconds')}" if until else ""
        super().__init__(f"The database of instance {instance!r} is released; it can be undeleted{when}.")


class DatabaseNotReady(ServiceError):
    code = "database_not_ready"

    def __init__(self, instance: str, status: str) -> None:
        super().__init__(f"The database of instance {instance!r} is not ready yet: it is {status}.")


class DatabaseMoving(ServiceError):
    code = "database_moving"

    def __init__(self, instance: str) -> None:
        super().__init__(f"The database of instance {instance!r} is being moved to another server; ask again soon.")


class DatabaseBusy(ServiceError):
    code = "database_busy"

    def __init__(self, instance: str, operation: object) -> None:
        super().__init__(
            f"The database of instance {instance!r} is part of the operation {operation}, which is not over yet."
        )


class SamePlan(ServiceError):
    code = "same_plan"

    def __init__(self, instance: str, tier: str) -> None:
        super().__init__(
            f"The database of instance {instance!r} has the plan {tier!r} already, on that kind of server."
        )


class MoveNotReversible(ServiceError):
    """There is nothing to go back to; the message says why."""

    code = "move_not_reversible"


class NothingToRetry(ServiceError):
    """There is nothing to try again; the message says why."""

    code = "nothing_to_retry"


class DatabaseHasOwnServer(ServiceError):
    code = "database_has_own_server"

    def __init__(self, instance: str) -> None:
        super().__init__(
            f"The database of instance {instance!r} has a server of its own; it leaves it by a change of its plan."
        )


class NoRoom(ServiceError):
    code = "no_room"

    def __init__(self, server: str) -> None:
        super().__init__(
            f"The server {server} takes no tenant's database: it is cordoned, not shared, or has no free slot."
        )


class SameServer(ServiceError):
    code = "same_server"

    def __init__(self, instance: str, server: str) -> None:
        super().__init__(f"The database of instance {instance!r} is on the server {server} already.")


class DatabaseNotReleased(ServiceError):
    code = "database_not_released"

    def __init__(self, instance: str, status: str) -> None:
        super().__init__(f"The database of instance {instance!r} is {status}; only a released one can be undeleted.")


class DatabaseProtected(ServiceError):
    code = "database_protected"

    def __init__(self, instance: str) -> None:
        super().__init__(
            f"The database of instance {instance!r} is protected against deletion; lift the protection first."
        )


class TooManyLogins(ServiceError):
    code = "too_many_logins"

    def __init__(self, instance: str, most: int) -> None:
        super().__init__(
            f"The database of instance {instance!r} already has {most} live logins; wait until one expires."
        )


class ServerNotEmpty(ServiceError):
    code = "server_not_empty"

    def __init__(self, server: str, databases: int) -> None:
        super().__init__(f"The server {server} still holds {databases} database(s); release or move them first.")


class ServerNotActive(ServiceError):
    code = "server_not_active"

    def __init__(self, server: str, status: str) -> None:
        super().__init__(f"The server {server} is {status}; only an active one can be changed.")


class ServerBusy(ServiceError):
    code = "server_busy"

    def __init__(self, server: str, operation: object) -> None:
        super().__init__(f"The server {server} is part of the operation {operation}, which is not over yet.")


class SlotsInUse(ServiceError):
    code = "slots_in_use"

    def __init__(self, server: str, used: int, wanted: int) -> None:
        super().__init__(f"The server {server} has {used} slots in use, spares included; it cannot have only {wanted}.")


class MoveBlocked(ServiceError):
    """`blockers` are the sentences why the database cannot be moved, each with what to do about it."""

    code = "move_blocked"

    def __init__(self, blockers: Sequence[str]) -> None:
        self.blockers = tuple(blockers)
        super().__init__(" ".join(("The database cannot be moved.", *self.blockers)))


class OperationOver(ServiceError):
    code = "operation_over"

    def __init__(self, operation: object, state: str) -> None:
        super().__init__(f"The operation {operation} is over: it is {state}.")


class AdoptionRefused(ServiceError):
    """The server to adopt cannot be reached, is too old, or is not ours to administer."""

    code = "adoption_refused"


class AdoptionChanged(ServiceError):
    code = "adoption_changed"

    def __init__(self) -> None:
        super().__init__(
            "The server no longer looks as it did when the confirmation was given; look again and confirm that."
        )


class DriftNotRemovable(ServiceError):
    """It is reported only, or already gone; the message says which."""

    code = "drift_not_removable"


class DriftInGrace(ServiceError):
    code = "drift_in_grace"

    def __init__(self, until: datetime) -> None:
        super().__init__(f"It may be removed from {until.isoformat(timespec='seconds')} on, when its grace is over.")


class ConfirmationMismatch(ServiceError):
    code = "confirmation_mismatch"

    def __init__(self) -> None:
        super().__init__("This confirmation is not for what is there now; look again and confirm that.")


class ConfirmationExpired(ServiceError):
    code = "confirmation_expired"

    def __init__(self, until: datetime) -> None:
        super().__init__(f"This confirmation expired at {until.isoformat(timespec='seconds')}; ask for a new one.")


# -- who asks ---------------------------------------------------------------------------------------------------------


class Unauthenticated(ServiceError):
    code = "unauthenticated"

    def __init__(self) -> None:
        super().__init__("This needs a valid API token: Authorization: Bearer dbs_….")


class Forbidden(ServiceError):
    code = "forbidden"

    def __init__(self, scope: str, shown: str = "token") -> None:
        super().__init__(f"This {shown} lacks the scope '{scope}'.")


class CustomerForbidden(ServiceError):
    code = "customer_forbidden"

    def __init__(self, customer: object) -> None:
        super().__init__(f"This token is for the databases of the customer {customer!r} alone.")


# -- something we depend on -------------------------------------------------------------------------------------------


class Unavailable(ServiceError):
    """A dependency does not answer; nothing was half-written and the same call may be made again."""

    code = "unavailable"
    retry_after_s: ClassVar[int] = 2


class Overloaded(Unavailable):
    """More is asked than can be served in time; nothing was begun."""

    code = "overloaded"
    retry_after_s: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__("More is asked of this process than it can serve in time; nothing was begun, ask again.")


class ControlDatabaseUnavailable(Unavailable):
    code = "control_database_unavailable"

    def __init__(self) -> None:
        super().__init__("The control plane's own database does not answer.")


class SchemaInUse(Unavailable):
    code = "schema_in_use"

    def __init__(self) -> None:
        super().__init__(
            "Somebody holds a table that is to be changed, such as a dump; nothing was changed. Try again."
        )


class TenantServerUnavailable(Unavailable):
    """A tenant server refused, timed out or dropped an administrator's connection."""

    code = "tenant_server_unavailable"


class TenantDatabaseMissing(ServiceError):
    """A database that was handed out is not on its server. It is never replaced by an empty one."""

    code = "tenant_database_missing"


class NameTaken(ServiceError):
    """Something of that name is on the tenant server and is not ours: never accepted as 'already there'."""

    code = "name_taken"


class SecretUnreadable(ServiceError):
    """A sealed secret was changed, belongs to another row, or was sealed with a key that is not on the ring."""

    code = "secret_unreadable"


class ProvisioningFailed(ServiceError):
    """The provisioner could not make or start a server; the message says why in words an operator can act on."""

    code = "provisioning_failed"


class TransferFailed(ServiceError):
    """Dumping or restoring a database failed; the message has the program's last words, never what is in a row."""

    code = "transfer_failed"
