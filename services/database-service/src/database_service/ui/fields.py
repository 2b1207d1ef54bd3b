"""What a form or an address says, as values: InvalidField names what is wrong with it."""

import re
from collections.abc import Mapping

from pydantic import BeforeValidator

from database_service.domain.errors import InvalidField
from database_service.domain.ids import CALLER_ID_PATTERN
from database_service.domain.wording import is_one_line

_LONGEST = 200
_CALLER_ID = re.compile(CALLER_ID_PATTERN)
_NUMBER = re.compile(r"[0-9]{1,9}")

or_none = BeforeValidator(lambda told: None if told == "" else told)
"""A choice that was left open is sent as an empty text."""


def line(fields: Mapping[str, str], name: str) -> str | None:
    """One line of text; None where it was left out."""
    text = fields.get(name, "")
    if len(text) > _LONGEST or not is_one_line(text):
        raise InvalidField(
            name,
            f"must be one line of at most {_LONGEST} characters, none of which cannot be seen or turns a line round",
        )
    return text or None


def caller_id(fields: Mapping[str, str], name: str) -> str | None:
    """An id as callers have them; None where it was left out."""
    return _like_an_id(fields, name, "must be")


def beginning(fields: Mapping[str, str], name: str) -> str | None:
    """How an id or a name may begin; None where it was left out."""
    return _like_an_id(fields, name, "must be the beginning of an id or a name:")


def _like_an_id(fields: Mapping[str, str], name: str, must_be: str) -> str | None:
    text = fields.get(name, "")
    if text and not _CALLER_ID.fullmatch(text):
        raise InvalidField(name, f"{must_be} 1 to 64 of A-Z a-z 0-9 . _ -")
    return text or None


def number(fields: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    """None where it was left out."""
    text = fields.get(name, "")
    if text and not (_NUMBER.fullmatch(text) and least <= int(text) <= most):
        raise InvalidField(name, f"must be a number from {least} to {most}")
    return int(text) if text else None


def named(fields: Mapping[str, str], name: str) -> None:
    """What destroys is done to what was named, and to nothing else."""
    if fields.get("name") != name:
        raise InvalidField("name", f"must be {name!r}, so that it is the one that is meant")
