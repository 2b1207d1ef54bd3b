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
    where = f"postgresql://{user}:{password}@{_in_url(found.db_host)}:{found.db_port}/{name}"
    return "?".join(filter(None, (where, urlencode(_verified(found)))))


def env(found: CredentialsOut) -> str:
    """libpq's variables, and DATABASE_URL beside them; one `NAME=value` a line, for an env file."""
    lines = {
        "PGHOST": found.db_host,
        "PGPORT": str(found.db_port),
        "PGDATABASE": found.db_name,
        "PGUSER": found.db_user,
        "PGPASSWORD": found.db_password,
        **{f"PG{name.upper()}": mode for name, mode in _verified(found).items()},
        "DATABASE_URL": uri(found),
    }
    return "\n".join(f"{name}={value}" for name, value in lines.items())


def jdbc(found: CredentialsOut) -> str:
    login = {"user": found.db_user, "password": found.db_password}
    told = urlencode(login | _verified(found))
    return f"jdbc:postgresql://{_in_url(found.db_host)}:{found.db_port}/{quote(found.db_name, safe='')}?{told}"


def pgpass(found: CredentialsOut) -> str:
    """A line of ~/.pgpass: `:` and `\\` are escaped (PostgreSQL manual, 32.16)."""
    parts = (found.db_host, str(found.db_port), found.db_name, found.db_user, found.db_password)
    return ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in parts)


def _verified(found: CredentialsOut) -> dict[str, str]:
    """Where the server speaks TLS. Which file has its authority, the client knows: PGSSLROOTCERT, or `sslrootcert`."""
    return {"sslmode": found.ssl_mode} if found.ssl_root_cert else {}


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


TEXTS: Mapping[Format, Callable[[CredentialsOut], str]] = {
    Format.URI: uri,
    Format.ENV: env,
    Format.JDBC: jdbc,
    Format.PGPASS: pgpass,
}
