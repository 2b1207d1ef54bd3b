"""The shape of every error."""

from pydantic import BaseModel, Field

_LONGEST_NAME = 100
_LONGEST_MESSAGE = 300


class FieldError(BaseModel):
    """One thing that is wrong with one field."""

    field: str
    message: str
    place: str = Field("body", description="Where the field is: body, path, query or header.")

    @classmethod
    def of(cls, field: str, message: str, place: str = "body") -> "FieldError":
        readable = field[:_LONGEST_NAME].encode("utf-8", "replace").decode()
        return cls(field=readable, message=message[:_LONGEST_MESSAGE], place=place)


class Problem(BaseModel):
    """RFC 9457, with a stable `code` to act on."""

    type: str = Field(description="Leads to the explanation of the code.")
    title: str
    status: int
    detail: str = Field(description="One sentence that names what is wrong here.")
    instance: str = Field(description="The path that was asked for.")
    code: str
    request_id: str
    errors: list[FieldError] | None = None
