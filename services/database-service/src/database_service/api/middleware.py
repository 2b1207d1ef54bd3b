"""The one middleware: request id, gate, body, access log, request log, metrics. Plain ASGI, because every request pays for it."""

import asyncio
import time
from collections.abc import Iterable, Mapping

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from database_service.actions.record_requests import RequestLog
from database_service.admission.gate import Gate
from database_service.api.exchange import UNMATCHED, Exchange
from database_service.api.turning_away import NEVER_REFUSED, TurningAway, take_or_make_id
from database_service.auth.rate import Left
from database_service.domain.errors import Overloaded
from database_service.observability import metrics
from database_service.observability.logging import bind_request

_LONGEST_PATH = 200
_CLIENT_WENT_AWAY = 499

log = structlog.get_logger(__name__)


class Doorway:
    """Around every request.

    A longer body than `body_limit` bytes is 413 as soon as that is known. A body is read before its request goes through the
    gate, so who sends slowly takes nobody's place; after `body_timeout_s` it is 408. Who finds the gate crowded is 503 at
    once, before anything was parsed, asked or logged.
    """

    def __init__(
        self, app: ASGIApp, gate: Gate, turning_away: TurningAway, body_limit: int, body_timeout_s: float
    ) -> None:
        self._app = app
        self._gate = gate
        self._turning_away = turning_away
        self._body_limit = body_limit
        self._body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = scope.setdefault("state", {})["request_id"] = take_or_make_id(scope["headers"])
        if scope["path"] in NEVER_REFUSED:
            await self._serve(scope, receive, send, began)
            return
        try:
            self._gate.refuse_late()
            heard = await _heard(scope, receive, self._body_limit, self._body_timeout_s)
            place = await self._gate.enter()
        except Overloaded as refusal:
            answer = self._turning_away.refused(refusal, scope["path"], request_id)
            await answer(scope, receive, send)
            return
        with place:
            await self._serve(scope, heard, send, began)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, began: float) -> None:
        state = scope["state"]
        bind_request(state["request_id"])
        status = 500  # unless something is answered
        requests: RequestLog = scope["app"].state.requests
        exchange = Exchange(requests.now(), requests.keeping.body_bytes)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_headers(state)]
            else:
                exchange.answered.pass_by(message)
            await send(message)

        try:
            await self._app(scope, _overheard(receive, exchange), send_with_headers)
        except asyncio.CancelledError:
            status = _CLIENT_WENT_AWAY
            raise
        finally:
            seconds = time.perf_counter() - began
            # The answer is on its way only when this task pauses; what is noted of it must not hold it up.
            asyncio.get_running_loop().call_soon(_note, requests, exchange, scope, status, seconds)


def _headers(state: Mapping[str, object]) -> Iterable[tuple[bytes, bytes]]:
    """What every answer carries. The guard leaves behind what is left of its token's rate."""
    yield b"x-request-id", str(state["request_id"]).encode()
    left = state.get("rate_left")
    if isinstance(left, Left):
        yield from left.headers()


async def _heard(scope: Scope, receive: Receive, limit: int, timeout_s: float) -> Receive:
    """`receive` with the whole body in its hands; what was wrong with it is told to who reads it."""
    lengths = {name: value for name, value in scope["headers"] if name in (b"content-length", b"transfer-encoding")}
    if not lengths or lengths == {b"content-length": b"0"}:
        return receive
    if int(lengths.get(b"content-length", 0)) > limit:  # the server refuses what is no number
        return _raising(_too_large(limit))
    try:
        async with asyncio.timeout(timeout_s):
            messages = await _messages(receive, limit)
    except TimeoutError:
        return _raising(HTTPException(408, f"The body did not come within {timeout_s:g} s."))
    except HTTPException as too_large:
        return _raising(too_large)
    return _replaying(messages, receive)


async def _messages(receive: Receive, limit: int) -> list[Message]:
    """The body, or as much of it as came before its sender went away. HTTPException 413 as soon as it is too long."""
    messages: list[Message] = []
    received, more = 0, True
    while more:
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _too_large(limit)
        messages.append(message)
        more = message.get("more_body", False)
    return messages


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"The body is larger than {limit} bytes.")


def _replaying(messages: list[Message], receive: Receive) -> Receive:
    waiting = iter(messages)

    async def next_message() -> Message:
        return next(waiting, None) or await receive()

    return next_message


def _overheard(receive: Receive, exchange: Exchange) -> Receive:
    async def next_message() -> Message:
        message = await receive()
        exchange.asked.pass_by(message)
        return message

    return next_message


def _raising(problem: HTTPException) -> Receive:
    async def refuse() -> Message:
        raise problem

    return refuse


def _note(requests: RequestLog, exchange: Exchange, scope: Scope, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", UNMATCHED)
    metrics.request(scope["method"], route, status, seconds)
    log.info(
        "http.request",
        method=scope["method"],
        path=scope["path"][:_LONGEST_PATH],
        status=status,
        ms=round(seconds * 1000, 2),
    )
    exchange.note(requests, scope, status, seconds)
