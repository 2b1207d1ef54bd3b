"""Cursors: where the next page goes on. Opaque to callers, so that what they mean may change."""

import base64
import struct
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Query

from database_service.domain.errors import InvalidField
from database_service.views.requests import Place

_FORMAT = struct.Struct(">B q")
_VERSION = 1
_PLACE_FORMAT = struct.Struct(">B q q")
_PLACE_VERSION = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Limit = Annotated[int, Query(ge=1, le=200, description="The most to return.")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before.")]


def cursor_of(position: int | None) -> str | None:
    if position is None:
        return None
    return _text_of(_FORMAT.pack(_VERSION, position))


def position_of(cursor: str) -> int:
    """InvalidField where it is none of ours."""
    version, position = _unpacked(cursor, _FORMAT)
    if version != _VERSION or position < 0:
        raise _not_ours()
    return position


def cursor_of_place(place: Place | None) -> str | None:
    if place is None:
        return None
    return _text_of(_PLACE_FORMAT.pack(_PLACE_VERSION, (place.at - _EPOCH) // _MICROSECOND, place.id))


def place_of(cursor: str) -> Place:
    """InvalidField where it is none of ours."""
    version, micros, id_ = _unpacked(cursor, _PLACE_FORMAT)
    try:
        at = _EPOCH + micros * _MICROSECOND
    except OverflowError:
        raise _not_ours() from None
    if version != _PLACE_VERSION:
        raise _not_ours()
    return Place(at, id_)


def _text_of(packed: bytes) -> str:
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _unpacked(cursor: str, form: struct.Struct) -> tuple[int, ...]:
    try:
        found: tuple[int, ...] = form.unpack(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, struct.error):
        raise _not_ours() from None
    return found


def _not_ours() -> InvalidField:
    return InvalidField("cursor", "is not one that a page returned")
