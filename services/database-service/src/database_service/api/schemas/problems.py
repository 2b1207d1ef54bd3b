"""The shape of every error."""

from pydantic import BaseModel, Field

from database_service.api.schemas.common import Passing, Text

_LONGEST_NAME = 100
_LONGEST_MESSAGE = 300


class FieldError(BaseModel):
    """One thing that is wrong with one field."""

    field: Text
    message: Text
    place: Text = Field("body", description="Where the field is: body, path, query or header.")

    @classmethod
    def of(cls, field: str, message: str, place: str = "body") -> "FieldError":
        readable = field[:_LONGEST_NAME].encode("utf-8", "replace").decode()
        return cls(field=readable, message=message[:_LONGEST_MESSAGE], place=place)


class Problem(BaseModel):
    """RFC 9457, with a stable `code` to act on."""

    type: Text = Field(description="Leads to the explanation of the code.")
    title: Text
    status: int
    detail: Text = Field(description="One sentence that names what is wrong here.")
    instance: Passing = Field(description="The path that was asked for.")
    code: Text
    request_id: Text
    errors: list[FieldError] | None = None
