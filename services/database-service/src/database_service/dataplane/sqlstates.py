"""What PostgreSQL may be expected to answer, by name, and in words an operator can act on."""

import ssl
from collections.abc import Mapping

import asyncpg

DUPLICATE_DATABASE = "42P04"
DUPLICATE_ROLE = "42710"
UNIQUE_VIOLATION = "23505"
TUPLE_CHANGED = "XX000"
OBJECT_IN_USE = "55006"
NO_SUCH_ROLE = "42704"
NO_SUCH_DATABASE = "3D000"
DEPENDENTS_EXIST = "2BP01"

_RACES = frozenset(
    {DUPLICATE_DATABASE, DUPLICATE_ROLE, UNIQUE_VIOLATION, NO_SUCH_ROLE, NO_SUCH_DATABASE, DEPENDENTS_EXIST}
)

_WORDS: Mapping[str, str] = {
    "28P01": "does not accept the password",
    "28000": "does not let this role log in",
    "53300": "has no free connection",
    "53100": "has a full disk",
    "53200": "is out of memory",
    "57P01": "ended the session",
    "57P02": "ended the session because it crashed",
    "57P03": "is starting up or shutting down",
    "57014": "took too long and the statement was cancelled",
    "55P03": "took too long to give a lock",
    "25006": "is read only",
    OBJECT_IN_USE: "has another session in the database or its template",
    NO_SUCH_DATABASE: "does not have the database",
}


def says_raced(error: asyncpg.PostgresError) -> bool:
    """Whether someone else changed the same role or database between our look and our statement: looking again helps.

    Two creations of one name mostly meet as 23505 in the catalog's index, and only sometimes as 42P04 or 42710. Two
    changes of one role meet as XX000, a code shared with real internal errors, so there the message decides.
    """
    if error.sqlstate == TUPLE_CHANGED:
        return str(error).startswith("tuple concurrently")
    return error.sqlstate in _RACES


def in_words(error: Exception) -> str:
    """The end of a sentence that starts with the server: why it did not obey. Never quotes it, for it may quote us."""
    if isinstance(error, asyncpg.PostgresError):
        return _WORDS.get(error.sqlstate or "", f"answered with error {error.sqlstate} ({type(error).__name__})")
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"is not trusted: {error.verify_message}"
    if isinstance(error, OSError):
        return f"cannot be reached ({error.strerror or type(error).__name__})"
    return "lost the connection"
