"""The API as the commands see it: one call, one answer; everything else is a CommandFailed with a sentence and a code."""

from collections.abc import Mapping
from typing import Any

import httpx

from instance_service.cli.exits import CommandFailed, Exit, exit_for
from instance_service.settings import Settings

PREFIX = "/api/instances"
_ROOM_S = 10


class Client:
    """Calls below `/api/instances`, with the token of these settings."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.url.rstrip("/").removesuffix(PREFIX)
        self._headers = {"Authorization": f"Bearer {settings.api_token().reveal()}"}

    def call(
        self,
        method: str,
        path: str = "",
        *,
        body: Mapping[str, object] | None = None,
        wait: int = 0,
        **query: object,
    ) -> dict[str, Any]:
        """`wait` holds the request until the instance has settled, for that many seconds at most."""
        asked: Any = {name: value for name, value in (query | {"wait": wait or None}).items() if value is not None}
        try:
            response = httpx.request(
                method,
                f"{self._url}{PREFIX}{path}",
                params=asked,
                json=body,
                headers=self._headers,
                timeout=wait + _ROOM_S,
            )
            told: dict[str, Any] = response.json()
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise CommandFailed(f"There is no API at {self._url}: {e or type(e).__name__}.", Exit.UNAVAILABLE) from None
        except ValueError:
            raise CommandFailed(f"What answers at {self._url} is not this API.") from None
        if response.is_success:
            return told
        raise CommandFailed(str(told.get("detail") or response.reason_phrase), exit_for(response.status_code))
