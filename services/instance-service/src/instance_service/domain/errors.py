"""Everything that can go wrong on purpose, each with a stable `code`. Doors decide how to say it (HTTP, exit code)."""

from typing import ClassVar


class ServiceError(Exception):
    """The base of all errors a caller may see. The message is one sentence that names what is wrong."""

    code: ClassVar[str] = "service_error"


# -- the request cannot be met as it stands ---------------------------------------------------------------------------


class InvalidField(ServiceError):
    code = "invalid_field"

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        super().__init__(f"{field}: {problem}")


class InstanceNotFound(ServiceError):
    code = "instance_not_found"

    def __init__(self, instance: object) -> None:
        super().__init__(f"There is no instance {instance}.")


class InstanceDiffers(ServiceError):
    code = "instance_differs"

    def __init__(self, instance: object, fields: tuple[str, ...]) -> None:
        super().__init__(f"The instance {instance} was asked for before with another {', '.join(fields)}.")


class InstanceBusy(ServiceError):
    """It is in a state that does not allow this now; once it has settled, the same call may be made again."""

    code = "instance_busy"

    def __init__(self, instance: object, status: str) -> None:
        super().__init__(f"The instance {instance} is {status}; this can be done once it has settled.")


class InstanceEnded(ServiceError):
    code = "instance_ended"

    def __init__(self, instance: object, status: str) -> None:
        super().__init__(f"The instance {instance} is {status}, for good.")


# -- who asks ---------------------------------------------------------------------------------------------------------


class Unauthenticated(ServiceError):
    code = "unauthenticated"

    def __init__(self) -> None:
        super().__init__("This needs the API token: Authorization: Bearer ….")


# -- something we depend on -------------------------------------------------------------------------------------------


class Unavailable(ServiceError):
    """A dependency does not answer; nothing was half-written and the same call may be made again."""

    code = "unavailable"
    retry_after_s: ClassVar[int] = 2


class OwnDatabaseUnavailable(Unavailable):
    """Our own database does not answer, or database-service, which has its credentials, does not tell them."""

    code = "own_database_unavailable"

    def __init__(self, why: str = "") -> None:
        super().__init__(f"The service's own database cannot be used now{': ' + why if why else ''}.")


class DatabasesUnavailable(ServiceError):
    """Database-service does not answer, or is too busy; the row stays due."""

    code = "databases_unavailable"


class DatabaseRefused(ServiceError):
    """Database-service says no, and would again: `theirs` is its own code for it."""

    code = "database_refused"

    def __init__(self, theirs: str, detail: str) -> None:
        self.theirs = theirs
        super().__init__(f"database-service: {detail} ({theirs})")


class WorkloadFailed(ServiceError):
    """A workload could not be started, looked at or stopped; the message says why in words an operator can act on."""

    code = "workload_failed"
