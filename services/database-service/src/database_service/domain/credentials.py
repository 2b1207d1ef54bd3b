"""Credentials as the texts that clients read."""

import shlex
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from database_service.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a client gets into one database. `verified` where its server speaks TLS, which is then insisted on."""

    host: str
    port: int
    name: str
    user: str
    password: Secret
    verified: bool


def uri(found: Credentials) -> str:
    """libpq's URI (PostgreSQL manual, 32.1.1.2)."""
    user, password, name = (quote(part, safe="") for part in (found.user, found.password.reveal(), found.name))
    where = f"postgresql://{user}:{password}@{_in_url(found.host)}:{found.port}/{name}"
    return "?".join(filter(None, (where, urlencode(_verified(found)))))


def env(found: Credentials) -> str:
    """libpq's variables, and DATABASE_URL beside them; one `NAME=value` a line, for an env file."""
    lines = {
        "PGHOST": found.host,
        "PGPORT": str(found.port),
        "PGDATABASE": found.name,
        "PGUSER": found.user,
        "PGPASSWORD": found.password.reveal(),
        **{f"PG{name.upper()}": mode for name, mode in _verified(found).items()},
        "DATABASE_URL": uri(found),
    }
    return "\n".join(f"{name}={value}" for name, value in lines.items())


def jdbc(found: Credentials) -> str:
    login = {"user": found.user, "password": found.password.reveal()}
    told = urlencode(login | _verified(found))
    return f"jdbc:postgresql://{_in_url(found.host)}:{found.port}/{quote(found.name, safe='')}?{told}"


def pgpass(found: Credentials) -> str:
    """A line of ~/.pgpass: `:` and `\\` are escaped (PostgreSQL manual, 32.16)."""
    parts = (found.host, str(found.port), found.name, found.user, found.password.reveal())
    return ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in parts)


def psql(found: Credentials) -> str:
    """A command, which asks for the password: everybody on a machine sees what commands are given."""
    told = {"host": found.host, "port": str(found.port), "dbname": found.name, "user": found.user, **_verified(found)}
    return shlex.join(["psql", " ".join(f"{name}={_in_conninfo(value)}" for name, value in told.items())])


def _verified(found: Credentials) -> dict[str, str]:
    """Which file has its authority, the client knows: PGSSLROOTCERT, or `sslrootcert`."""
    return {"sslmode": "verify-full"} if found.verified else {}


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _in_conninfo(value: str) -> str:
    """Quoted where it has to be (PostgreSQL manual, 32.1.1.1)."""
    if value.replace("-", "").replace(".", "").replace("_", "").isalnum():
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
