"""Everything that can go wrong on purpose, each with a stable `code`. Doors decide how to say it (HTTP, exit code)."""

from typing import ClassVar


class ServiceError(Exception):
    """The base of all errors a caller may see. The message is one sentence that names what is wrong."""

    code: ClassVar[str] = "service_error"


# -- something we depend on -------------------------------------------------------------------------------------------


class WorkloadFailed(ServiceError):
    """A workload could not be started, looked at or stopped; the message says why in words an operator can act on."""

    code = "workload_failed"
