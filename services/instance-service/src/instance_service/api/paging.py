"""Cursors: where the next page goes on. Opaque to callers, so that what they mean may change."""

import base64
import struct
from typing import Annotated

from fastapi import Query

from instance_service.domain.errors import InvalidField

_FORMAT = struct.Struct(">B q")
_VERSION = 1

Limit = Annotated[int, Query(ge=1, le=200, description="The most to return.")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before.")]


def cursor_of(position: int | None) -> str | None:
    if position is None:
        return None
    return base64.urlsafe_b64encode(_FORMAT.pack(_VERSION, position)).rstrip(b"=").decode()


def position_of(cursor: str) -> int:
    """InvalidField where it is none of ours."""
    try:
        version, position = _FORMAT.unpack(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, struct.error):
        raise InvalidField("cursor", "is not one that a page returned") from None
    if version != _VERSION or position < 0:
        raise InvalidField("cursor", "is not one that a page returned")
    return int(position)
