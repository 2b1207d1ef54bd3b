"""The one middleware: request id, body limit, access log, metrics. Plain ASGI, because every request pays for it."""

import asyncio
import re
import time
from collections.abc import Iterable
from uuid import uuid4

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from instance_service.observability import metrics
from instance_service.observability.logging import bind_request

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_LONGEST_PATH = 200
_CLIENT_WENT_AWAY = 499

log = structlog.get_logger(__name__)


class Doorway:
    """Around every request. `body_limit` is bytes; a longer body is 413 as soon as that is known."""

    def __init__(self, app: ASGIApp, body_limit: int) -> None:
        self._app = app
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _take_or_make_id(scope["headers"])
        scope.setdefault("state", {})["request_id"] = request_id
        bind_request(request_id)
        status = 500  # unless something is answered

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, _limited(scope, receive, self._body_limit), send_with_id)
        except asyncio.CancelledError:
            status = _CLIENT_WENT_AWAY
            raise
        finally:
            seconds = time.perf_counter() - started
            # The answer is on its way only when this task pauses; what is noted of it must not hold it up.
            asyncio.get_running_loop().call_soon(_note, scope, status, seconds)


def _take_or_make_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return uuid4().hex


def _limited(scope: Scope, receive: Receive, limit: int) -> Receive:
    """`receive`, counted where the caller did not declare a length that fits. The server holds them to what they declare."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), None)
    if declared is not None and declared.isdigit() and int(declared) <= limit:
        return receive
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413, f"The body is larger than {limit} bytes.")
        return message

    return counted


def _note(scope: Scope, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "unmatched")
    metrics.request(scope["method"], route, status, seconds)
    log.info(
        "http.request",
        method=scope["method"],
        path=scope["path"][:_LONGEST_PATH],
        status=status,
        ms=round(seconds * 1000, 2),
    )
