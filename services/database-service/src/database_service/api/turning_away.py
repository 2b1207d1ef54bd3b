"""Turning away: who would be served too late is told so before the server makes a task and a request of them.

At four times what can be served three of four requests are refusals, so what a refusal costs is what is left to serve with.
Through all of uvicorn, Starlette and FastAPI it is 0.2 ms, and here a third of that.
"""

import asyncio
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import structlog
from fastapi.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from database_service.admission.gate import Gate
from database_service.api import problems
from database_service.api.heads import ImpatientProtocol
from database_service.domain.errors import Overloaded

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

NEVER_REFUSED = frozenset({"/api/database/health", "/api/database/health/ready", "/api/database/metrics"})
"""Who asks these must learn how it is just when it is bad. They cost little, whoever asks and however often."""
STATE = "turning_away"
"""Under this name the application's lifespan tells the server's connections of its `TurningAway`."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_TELL_EVERY_S = 1.0

log = structlog.get_logger(__name__)


class TurningAway:
    """What is said to who finds the gate crowded. Told of in one line each second: a line for each would cost more than all
    the rest of a refusal.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._untold = 0

    def answer(self, scope: Mapping[str, Any]) -> Response | None:
        """For a request that nothing is known of but its head; None where there is room for it."""
        if scope["path"] in NEVER_REFUSED:
            return None
        try:
            self._gate.refuse_late()
        except Overloaded as refusal:
            return self.refused(refusal, scope["path"], take_or_make_id(scope["headers"]))
        return None

    def refused(self, refusal: Overloaded, path: str, request_id: str) -> Response:
        if self._untold == 0:
            asyncio.get_running_loop().call_later(_TELL_EVERY_S, self._tell)
        self._untold += 1
        answer = problems.answer_of(refusal, path, request_id)
        answer.raw_headers.append((b"x-request-id", request_id.encode()))
        return answer

    def _tell(self) -> None:
        structlog.contextvars.clear_contextvars()
        log.info("http.refused", requests=self._untold)
        self._untold = 0


class Turnstile(ImpatientProtocol):
    """For `uvicorn.run(http=…)`: the plain case of a refusal in one write. Every other goes on to the middleware, which
    refuses as well: one that waits behind another on its connection, that would not be read, or that ends its connection.
    """

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        turning_away: TurningAway | None = self.app_state.get(STATE)
        plain = cycle.keep_alive and not (self.pipeline or cycle.waiting_for_100_continue or self.flow.write_paused)
        answer = (
            turning_away.answer(cycle.scope) if turning_away and plain and cycle.scope["method"] != "HEAD" else None
        )
        if answer is None:
            super()._start_asgi_task(cycle, app)
            return
        cycle.response_started = cycle.response_complete = True
        self.transport.write(_written(answer, self.server_state.default_headers))
        cycle.on_response()


def take_or_make_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The request's id: the caller's where it is one, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return secrets.token_hex(16)


def _written(answer: Response, more: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = b"".join(b"%b: %b\r\n" % header for header in (*more, *answer.raw_headers))
    return b"%b%b\r\n%b" % (STATUS_LINE[answer.status_code], lines, bytes(answer.body))
