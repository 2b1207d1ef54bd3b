"""Credentials as the texts that clients read."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from urllib.parse import quote, urlencode

from database_service.api.schemas.databases import CredentialsOut


class Format(StrEnum):
    JSON = "json"
    URI = "uri"
    ENV = "env"
    JDBC = "jdbc"
    PGPASS = "pgpass"


def uri(found: CredentialsOut) -> str:
    """libpq's URI (PostgreSQL manual, 32.1.1.2)."""
    user, password, name = (quote(part, safe="") for part in (found.db_user, found.db_password, found.db_name))
    return f"postgresql://{user}:{password}@{_in_url(found.db_host)}:{found.db_port}/{name}"


def env(found: CredentialsOut) -> str:
    """libpq's variables, and DATABASE_URL beside them; one `NAME=value` a line, for an env file."""
    lines = {
        "PGHOST": found.db_host,
        "PGPORT": str(found.db_port),
        "PGDATABASE": found.db_name,
        "PGUSER": found.db_user,
        "PGPASSWORD": found.db_password,
        "DATABASE_URL": uri(found),
    }
    return "\n".join(f"{name}={value}" for name, value in lines.items())


def jdbc(found: CredentialsOut) -> str:
    login = urlencode({"user": found.db_user, "password": found.db_password})
    return f"jdbc:postgresql://{_in_url(found.db_host)}:{found.db_port}/{quote(found.db_name, safe='')}?{login}"


def pgpass(found: CredentialsOut) -> str:
    """A line of ~/.pgpass: `:` and `\\` are escaped (PostgreSQL manual, 32.16)."""
    parts = (found.db_host, str(found.db_port), found.db_name, found.db_user, found.db_password)
    return ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in parts)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


TEXTS: Mapping[Format, Callable[[CredentialsOut], str]] = {
    Format.URI: uri,
    Format.ENV: env,
    Format.JDBC: jdbc,
    Format.PGPASS: pgpass,
}
