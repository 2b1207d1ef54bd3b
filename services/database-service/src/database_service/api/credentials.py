"""The forms in which credentials are asked for."""

from collections.abc import Callable, Mapping
from enum import StrEnum

from database_service.domain.credentials import Credentials, env, jdbc, pgpass, uri


class Format(StrEnum):
    JSON = "json"
    URI = "uri"
    ENV = "env"
    JDBC = "jdbc"
    PGPASS = "pgpass"


TEXTS: Mapping[Format, Callable[[Credentials], str]] = {
    Format.URI: uri,
    Format.ENV: env,
    Format.JDBC: jdbc,
    Format.PGPASS: pgpass,
}
