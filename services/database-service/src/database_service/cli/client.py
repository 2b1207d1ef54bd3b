"""The API as the commands see it: one call, one answer; everything else is a CommandFailed with a sentence and a code."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from database_service.cli.exits import CommandFailed, Exit, exit_for
from database_service.domain.secret import Secret

PREFIX = "/api/database"
LONGEST_WAIT_S = 30
"""What the API honours at most for one request (RFC 7240's `wait`)."""
STEP_S = 60
"""What a verb may take that looks at a server itself, and starts it where it is down."""
_ROOM_S = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said. `exit` is NOT_READY for a 202."""

    status: int
    body: dict[str, Any]

    @property
    def exit(self) -> Exit:
        return exit_for(self.status)

    @property
    def ready(self) -> bool:
        return self.status != 202


class Client:
    """Calls below `/api/database` at this URL, with this token. Use it as a context manager."""

    def __init__(self, url: str, token: Secret | None, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url.rstrip("/").removesuffix(PREFIX)  # `dbs up` prints the API's address with it
        headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
        try:
            self._http = httpx.Client(base_url=f"{self._url}{PREFIX}", headers=headers, transport=transport)
        except httpx.InvalidURL:
            raise CommandFailed(f"{url} is not an address such as http://127.0.0.1:8005.", Exit.USAGE) from None

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, *, wait: float = 0, **query: object) -> Answer:
        """`wait` holds the request until the row changes, for that many seconds at most."""
        asked = query | ({"wait": int(wait)} if wait else {})
        return self._call("GET", path, query=asked, timeout=wait + _ROOM_S)

    def text(self, path: str, **query: object) -> str:
        """An answer that is no JSON."""
        response = self._send("GET", path, query=query)
        if response.is_success:
            return response.text
        raise _failure(response, _json(response))

    def post(
        self, path: str, body: Mapping[str, object] | None = None, *, wait: float = 0, patience: float = _ROOM_S
    ) -> Answer:
        """`wait` as in `get`; `patience` is how many seconds the answer itself may take."""
        headers = {"Prefer": f"wait={int(wait)}"} if wait else {}
        return self._call("POST", path, body=body, headers=headers, timeout=wait + patience)

    def delete(self, path: str, **query: object) -> Answer:
        return self._call("DELETE", path, query=query)

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = _ROOM_S,
    ) -> Answer:
        response = self._send(method, path, query=query, body=body, headers=headers, timeout=timeout)
        told = _json(response)
        if response.is_success:
            return Answer(response.status_code, told)
        raise _failure(response, told)

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = _ROOM_S,
    ) -> httpx.Response:
        given: Any = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            return self._http.request(method, path, params=given, json=body, headers=headers, timeout=timeout)
        except httpx.TimeoutException:
            raise CommandFailed(f"The API at {self._url} did not answer in time.", Exit.UNAVAILABLE) from None
        except (httpx.TransportError, httpx.InvalidURL) as e:
            raise CommandFailed(f"There is no API at {self._url}: {_reason(e)}.", Exit.UNAVAILABLE) from None


def segment(value: str) -> str:
    """An id as one part of a path, whatever is in it."""
    return quote(value, safe="")


def _failure(response: httpx.Response, problem: dict[str, Any]) -> CommandFailed:
    return CommandFailed(_sentence(response, problem), exit_for(response.status_code), problem or None)


def _json(response: httpx.Response) -> dict[str, Any]:
    if not response.content:
        return {}
    try:
        told = response.json()
    except ValueError:
        told = None
    if response.is_success and not isinstance(told, dict):
        raise CommandFailed(f"What answers at {response.url.host}:{response.url.port} is not this API.")
    return told if isinstance(told, dict) else {}


def _sentence(response: httpx.Response, problem: Mapping[str, Any]) -> str:
    told = problem.get("detail") or problem.get("title")
    request_id = problem.get("request_id") or response.headers.get("X-Request-ID")
    trail = f" (request {request_id})" if request_id and response.status_code >= 500 else ""
    return f"{told or f'The API answered {response.status_code} {response.reason_phrase}.'}{trail}"


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
