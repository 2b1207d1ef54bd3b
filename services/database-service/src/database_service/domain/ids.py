"""Names for the ids that travel through the service."""

from dataclasses import dataclass
from typing import NewType
from uuid import UUID

ServerId = NewType("ServerId", UUID)
DatabaseId = NewType("DatabaseId", UUID)
LoginId = NewType("LoginId", UUID)
TokenId = NewType("TokenId", UUID)
DriftId = NewType("DriftId", UUID)
OperationId = NewType("OperationId", UUID)

# Opaque ids that belong to the caller: 1-64 of [A-Za-z0-9._-]; checked once, at the door.
InstanceId = NewType("InstanceId", str)
CustomerId = NewType("CustomerId", str)

CALLER_ID_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"


@dataclass(frozen=True, slots=True)
class Who:
    """Who caused a change, for its event: an API token's name, a person's, or one of `OUR_ACTORS`."""

    actor: str
    request_id: str | None = None


RECONCILER = "reconciler"
"""The actor of every change that a step makes."""

BOOTSTRAP = "bootstrap"
"""The actor that issues the first token, and that token's name."""

CONSUMER = "consumer"
"""The name of the token that a service has from the settings, and so its actor."""

TASK = "task:"
"""Before the name of a task that another service sent."""

RECOVERY = "recovery"
"""The actor of what an operator's `dbs restore-control-plane` and `dbs rebuild` do to rows."""

PERSON = "oidc:"
"""Before the name of somebody who signed in to the hub by OpenID Connect."""

OUR_ACTORS = (RECONCILER, BOOTSTRAP, CONSUMER, TASK, RECOVERY, PERSON)
"""How actors begin that no token may be named like: an event must not be mistaken for the service's own, nor for a person's."""
