"""Field types that several requests share. Every text has a length and no control characters."""

from typing import Annotated

from fastapi import Header, Path
from pydantic import BaseModel, ConfigDict, StringConstraints

from database_service.domain.ids import CALLER_ID_PATTERN

CallerId = Annotated[str, StringConstraints(pattern=CALLER_ID_PATTERN)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
InstancePath = Annotated[str, Path(pattern=CALLER_ID_PATTERN, description="The caller's own id of the instance.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,128}$",
        description="The same key again returns the first answer instead of a second effect.",
    ),
]


class In(BaseModel):
    """What comes in. A field we do not know is refused: it is a typing mistake, or a wish we would silently not fulfil."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Out(BaseModel):
    model_config = ConfigDict(frozen=True)
