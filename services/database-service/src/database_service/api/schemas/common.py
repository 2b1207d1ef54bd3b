"""Field types that several requests share. Every text has a length and no control characters."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Header, Path
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from database_service.domain.ids import CALLER_ID_PATTERN


@dataclass(frozen=True, slots=True)
class _Mark:
    """Stands in the contract beside a text, and says what the request log does with it."""

    name: str
    said: bool = True

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(core) | {self.name: self.said}


LOGGED = _Mark("x-logged")
"""It may be kept: nobody is asked for a secret there, and none is told."""
SECRET = _Mark("x-secret")
"""It is a secret, or opens something. It is kept nowhere."""

Text = Annotated[str, LOGGED]
Hidden = Annotated[str, SECRET]
Passing = Annotated[str, _Mark("x-logged", False)]
"""No secret of ours, but it may be anything. Every text of the contract is one of these three; a test looks through all of it."""

CallerId = Annotated[Text, StringConstraints(pattern=CALLER_ID_PATTERN)]
Line = Annotated[Text, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
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


def _within_years(moment: datetime) -> datetime:
    """The same in UTC. ValueError, which becomes a 422, where there is no such year."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_within_years)]
"""With its offset, and the same in UTC from then on."""
