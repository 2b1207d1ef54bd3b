"""What of a request and its answer the request log keeps. Taken down while they pass, looked at when they are over."""

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from fastapi.routing import APIRoute
from pydantic_core import to_json
from starlette.types import Message, Scope

from database_service.actions.record_requests import RequestLog
from database_service.api.redaction import Value, redacted
from database_service.api.schemas.problems import Problem
from database_service.auth.tokens import Caller
from database_service.domain.ids import CALLER_ID_PATTERN
from database_service.domain.requests import Request

_KNOWN_ID = re.compile(CALLER_ID_PATTERN)

UNMATCHED = "unmatched"
"""The endpoint of what no route is for. Its path is not kept: it may be anything."""


class Body:
    """A body as it passes: all of it, or nothing once it is longer than `most` bytes."""

    __slots__ = ("_left", "_parts")

    def __init__(self, most: int) -> None:
        self._left = most
        self._parts: list[bytes] = []

    def pass_by(self, message: Message) -> None:
        part: bytes = message.get("body", b"")
        self._left -= len(part)
        if self._left < 0:
            self._parts.clear()
        elif part:
            self._parts.append(part)

    def whole(self) -> bytes:
        """Empty where there was none, and where it was too long."""
        return b"".join(self._parts) if self._left >= 0 else b""


class Exchange:
    """One request and its answer."""

    __slots__ = ("answered", "asked", "came")

    def __init__(self, came: datetime, body_bytes: int) -> None:
        self.came = came
        self.asked = Body(body_bytes)
        self.answered = Body(body_bytes)

    def note(self, log: RequestLog, scope: Scope, status: int, seconds: float) -> None:
        """Into the log, if it is one that is kept."""
        caller: Caller | None = scope["state"].get("caller")
        route = scope.get("route")
        endpoint = getattr(route, "path", UNMATCHED)
        if not log.keeps(scope["method"], endpoint, status, known=caller is not None):
            return
        asked = self._asked(route)
        answered = self._answered(route, status)
        log.add(
            Request(
                id=log.new_id(),
                at=self.came,
                request_id=scope["state"]["request_id"],
                token_id=caller.token_id if caller else None,
                token_name=caller.name if caller else None,
                method=scope["method"] if isinstance(route, APIRoute) else UNMATCHED,
                endpoint=endpoint,
                instance_id=_instance(scope, asked),
                customer_id=(caller and caller.customer_id) or _known_id(_of(asked, "customer_id")),
                status=status,
                ms=round(seconds * 1000, 2),
                code=_code(answered, status),
                request_body=_written(asked),
                response_body=_written(answered),
            )
        )

    def _asked(self, route: object) -> Value:
        body = self.asked.whole()
        if not body or not isinstance(route, APIRoute) or route.body_field is None:
            return None
        return redacted(body, route.body_field.field_info.annotation, "validation")

    def _answered(self, route: object, status: int) -> Value:
        body = self.answered.whole()
        model = _model(route, status)
        return redacted(body, model, "serialization") if body and model else None


def _model(route: object, status: int) -> Any:
    told = route.responses.get(status, {}) if isinstance(route, APIRoute) else {}
    return told.get("model", Problem if status >= HTTPStatus.BAD_REQUEST else None)


def _instance(scope: Scope, asked: Value) -> str | None:
    return _known_id(scope.get("path_params", {}).get("instance_id")) or _known_id(_of(asked, "instance_id"))


def _known_id(told: Value) -> str | None:
    return told if isinstance(told, str) and _KNOWN_ID.fullmatch(told) else None


def _of(body: Value, name: str) -> Value:
    return body.get(name) if isinstance(body, Mapping) else None


def _code(answered: Value, status: int) -> str | None:
    code = _of(answered, "code") if status >= HTTPStatus.BAD_REQUEST else None
    return code if isinstance(code, str) else None


def _written(body: Value) -> str | None:
    return to_json(body).decode() if isinstance(body, dict) else None
