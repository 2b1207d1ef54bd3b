"""What of a body may be kept: what its schema says, and nothing that is not in it.

A schema becomes a function, made once. It copies values of closed kinds (numbers, ids, moments, words of a list) and texts
that are marked `x-logged`. What is marked `x-secret`, or is not of the kind that it should be, becomes `***`; a field that the
schema does not have is left out with its name. Mappings are left out as well: what their names are, no schema tells.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeAlias

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from pydantic_core import from_json

from database_service.observability.logging import HIDDEN, masked

LONGEST_TEXT = 500
"""Characters; what is longer is cut."""

Value: TypeAlias = object
Redact: TypeAlias = Callable[[Value], Value]

_UNFIT: Final = object()
"""Not of the kind that the schema asks for."""
_ABSENT: Final = object()
_FORMS: Mapping[str, re.Pattern[str]] = {
    "uuid": re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"),
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?"),
}


def redacted(body: bytes, shape: Any, mode: JsonSchemaMode) -> Value:
    """What may be kept of a JSON body that should be of this type; None where it is no JSON at all."""
    try:
        told = from_json(body)
    except ValueError:
        return None
    kept = redactor(shape, mode)(told)
    return None if kept is _UNFIT else kept


@cache
def redactor(shape: Any, mode: JsonSchemaMode) -> Redact:
    """For values of this type, as they come in ("validation") or go out ("serialization")."""
    schema = TypeAdapter(shape).json_schema(mode=mode)
    return _of(schema, schema.get("$defs", {}))


def _of(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Redact:
    match schema:
        case {"x-secret": True} | {"format": "password"}:
            return _hide
        case {"$ref": str(ref)}:
            return _of(definitions[ref.rpartition("/")[2]], definitions)
        case {"anyOf": [*parts]}:
            return _first_that_fits([_of(part, definitions) for part in parts])
        case {"properties": properties}:
            return _object({name: _of(each, definitions) for name, each in properties.items()})
        case {"type": "array", "items": items}:
            return _array(_of(items, definitions))
        case {"type": "object"}:
            return lambda _: _ABSENT
        case _:
            return _of_value(schema)


def _of_value(schema: Mapping[str, Any]) -> Redact:
    match schema:
        case {"const": only}:
            return _one_of([only])
        case {"enum": [*allowed]}:
            return _one_of(allowed)
        case {"type": "integer" | "number" | "boolean"}:
            return _number
        case {"type": "null"}:
            return _nothing
        case {"type": "string", "format": ("uuid" | "date-time") as form}:
            return _text(_FORMS[form].fullmatch)
        case {"type": "string", "x-logged": True, "pattern": str(pattern)}:
            return _text(re.compile(pattern).search)
        case {"type": "string", "x-logged": True}:
            return _text(lambda _: True)
        case _:
            return _hide


def _hide(_: Value) -> Value:
    return HIDDEN


def _nothing(value: Value) -> Value:
    return None if value is None else _UNFIT


def _number(value: Value) -> Value:
    """Truth as well. What JSON cannot say again, such as 1e999, is none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else _UNFIT
    return value if isinstance(value, int) else _UNFIT


def _one_of(allowed: Sequence[Value]) -> Redact:
    return lambda value: value if value in allowed else _UNFIT


def _text(fits: Callable[[str], object]) -> Redact:
    def text(value: Value) -> Value:
        return _clean(value) if isinstance(value, str) and fits(value) else _UNFIT

    return text


def _clean(text: str) -> Value:
    """As a database can hold it, and without what looks like a secret in spite of all."""
    return masked(text[:LONGEST_TEXT].replace("\0", "\ufffd"))


def _array(item: Redact) -> Redact:
    def array(value: Value) -> Value:
        if not isinstance(value, list):
            return _UNFIT
        return [kept for each in value if (kept := _shown(item(each))) is not _ABSENT]

    return array


def _object(properties: Mapping[str, Redact]) -> Redact:
    def object_(value: Value) -> Value:
        if not isinstance(value, dict):
            return _UNFIT
        return {
            name: kept
            for name, redact in properties.items()
            if name in value and (kept := _shown(redact(value[name]))) is not _ABSENT
        }

    return object_


def _shown(kept: Value) -> Value:
    return HIDDEN if kept is _UNFIT else kept


def _first_that_fits(parts: Sequence[Redact]) -> Redact:
    """A null beside a secret is no secret."""
    by_strictness = sorted(parts, key=lambda part: (part is not _nothing, part is _hide))

    def fitting(value: Value) -> Value:
        return next((kept for part in by_strictness if (kept := part(value)) is not _UNFIT), _UNFIT)

    return fitting
