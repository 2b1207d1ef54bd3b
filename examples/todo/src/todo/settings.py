"""Environment → one frozen Settings. The only reader of the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Where it listens, and where its database is said to be."""

    host: str
    port: int
    url_file: Path | None
    url: str | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """ValueError where PORT is no number. A file wins over DATABASE_URL, which everybody sees who sees the process."""
        file = environment.get("DATABASE_URL_FILE")
        return cls(
            environment.get("HOST") or "127.0.0.1",
            int(environment.get("PORT") or 8000),
            Path(file) if file else None,
            environment.get("DATABASE_URL") or None,
        )

    @classmethod
    def load(cls) -> "Settings":
        return cls.of(os.environ)

    def dsn(self) -> str | None:
        """The database's URI as it is now; None leaves it to PGHOST and its like. OSError where the file cannot be read."""
        return self.url_file.read_text().strip() if self.url_file else self.url
