"""Names for the ids that travel through the service."""

from dataclasses import dataclass
from typing import NewType
from uuid import UUID

ServerId = NewType("ServerId", UUID)
DatabaseId = NewType("DatabaseId", UUID)
LoginId = NewType("LoginId", UUID)
TokenId = NewType("TokenId", UUID)

# Opaque ids that belong to the caller: 1-64 of [A-Za-z0-9._-]; checked once, at the door.
InstanceId = NewType("InstanceId", str)
CustomerId = NewType("CustomerId", str)

CALLER_ID_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"


@dataclass(frozen=True, slots=True)
class Who:
    """Who caused a change, for its event: an API token's name, `cli`, or the reconciler."""

    actor: str
    request_id: str | None = None


RECONCILER = Who("reconciler")
