"""Databases: what database-service tells of the one an instance has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from instance_service.domain.secret import Secret
from instance_service.domain.workloads import Address, Login


class State(StrEnum):
    """UNKNOWN: nobody could tell now; never taken for ABSENT. ENDED: it is released, or deleted."""

    ABSENT = "absent"
    COMING = "coming"
    READY = "ready"
    MOVING = "moving"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DatabaseSeen:
    """A database as it was found; where, and who logs in to it now, once it has been READY."""

    state: State
    address: Address | None = None
    name: str | None = None
    user: str | None = None
    roots: str | None = None
    """Who vouches for its server; None: it speaks no TLS."""
    detail: str = ""

    @property
    def login(self) -> Login | None:
        """The newest login, as far as it can be told without a secret: enough to see whether another one is in use."""
        if self.state is not State.READY or not (self.address and self.name and self.user):
            return None
        return Login(self.address, self.name, self.user, Secret(""), self.roots)


@dataclass(frozen=True, slots=True)
class Following:
    """A plan's change at database-service; its operation is None where there was nothing to do. `failed` says why it did not
    come about; `progress` is theirs, to be shown."""

    operation_id: UUID | None
    over: bool
    failed: str | None = None
    progress: Mapping[str, object] = field(default_factory=dict)
