"""Names for the ids that travel through the service."""

from dataclasses import dataclass
from typing import NewType
from uuid import UUID

InstanceId = NewType("InstanceId", UUID)
"""An instance, here and, as text, where its database is asked for."""

CustomerId = NewType("CustomerId", str)
"""Opaque, the caller's: 1-64 of `[A-Za-z0-9._-]`; checked once, at the door."""

CALLER_ID_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"


@dataclass(frozen=True, slots=True)
class Who:
    """Who caused a change, for its event: a caller's token, or a step."""

    actor: str
    request_id: str | None = None


RECONCILER = "reconciler"
"""The actor of every change that a step makes."""
