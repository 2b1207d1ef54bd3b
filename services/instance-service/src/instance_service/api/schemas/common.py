"""Field types that several requests share. Every text has a length and no control characters."""

from typing import Annotated

from fastapi import Header, Query
from pydantic import BaseModel, ConfigDict, StringConstraints

from instance_service.domain.ids import CALLER_ID_PATTERN

CallerId = Annotated[str, StringConstraints(pattern=CALLER_ID_PATTERN)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,128}$",
        description="The same key again returns the same instance instead of another one.",
    ),
]
Wait = Annotated[
    int,
    Query(ge=0, le=86400, description="Answer when it has settled, at the latest after so many seconds (30 at most)."),
]


class In(BaseModel):
    """What comes in. A field we do not know is refused: it is a typing mistake, or a wish we would silently not fulfil."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Out(BaseModel):
    model_config = ConfigDict(frozen=True)
