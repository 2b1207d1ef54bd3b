"""Where the service is and what lets us in, as the environment says: the only reader of it in this package."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from database_service_client.errors import Misconfigured

URL = "DATABASE_SERVICE_URL"
TOKEN_FILE = "DATABASE_SERVICE_TOKEN_FILE"  # noqa: S105  the name of a variable
PREFIX = "/api/database"


@dataclass(frozen=True, slots=True)
class Access:
    """The address of the API, and a token; None where only what is open is asked for."""

    url: str
    token: str | None = field(repr=False)

    @classmethod
    def found(cls, url: str | None, token: str | None, token_file: str | Path | None) -> Self:
        """What is given, else what the environment says. Misconfigured where there is no address or no such file."""
        url = url or os.environ.get(URL)
        if not url:
            raise Misconfigured(f"There is no address of database-service: give one, or set {URL}.")
        file = token_file or os.environ.get(TOKEN_FILE)
        return cls(_api(url), token or (_read(Path(file)) if file else None))


def _api(url: str) -> str:
    """The service prints its address with the path of its API; both are understood."""
    return f"{url.rstrip('/').removesuffix(PREFIX)}{PREFIX}"


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as e:
        raise Misconfigured(f"The token of database-service cannot be read: {file}: {e.strerror}.") from None
