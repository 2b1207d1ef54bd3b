"""What everything that runs workloads promises. One contract test suite runs over all of them."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from instance_service.domain.ids import InstanceId
from instance_service.domain.workloads import Found, Seen, WorkloadSpec


class Workloads(Protocol):
    """Starts, finds, stops and removes workloads. Every method may be repeated, and may be cut off at any instruction and
    repeated; who is cut off changes nothing after that, but for what he was just about to."""

    runs_images: ClassVar[bool]
    """Whether an instance may ask for an image."""

    async def ensure(self, spec: WorkloadSpec) -> None:
        """Have the workload exist and run as `spec` says, without waiting until it is well. Already so is success.

        One that runs otherwise (another login, image, command) is replaced, without a gap where it can be: a new one takes
        over before the old one ends. One that was stopped is started. The password reaches it by a file, never by its
        environment or arguments: DATABASE_URL_FILE names one with a libpq URI; PGHOST, PGPORT, PGDATABASE, PGUSER and
        PGPASSFILE stand beside it.

        Raises WorkloadFailed with a sentence an operator can act on; never makes a second workload for one id.
        """
        ...

    async def observe(self, instance_id: InstanceId) -> Seen:
        """What is there now, looked up by id or label, never remembered. What cannot be looked at is UNKNOWN, not ABSENT."""
        ...

    async def stop(self, instance_id: InstanceId) -> None:
        """End it (SIGTERM first) and keep what is needed to find it: STOPPED, or ABSENT where nothing needs keeping. Not there
        is success. Returns when none of it runs any longer, or raises WorkloadFailed."""
        ...

    async def remove(self, instance_id: InstanceId) -> None:
        """End it, and leave nothing of it, its secrets included: ABSENT. Not there is success; WorkloadFailed otherwise."""
        ...

    async def list_ours(self) -> Sequence[Found]:
        """Everything that carries our label. WorkloadFailed where it cannot look."""
        ...
