"""Secrets: every password and token this process makes is remembered, and nothing that is told may have one in it.

Looked at are what a test printed and logged, the arguments and environment of every process it starts, the bodies of
errors, messages for the broker, and all rows of the control database.
"""

import re
import secrets
import sys
from collections.abc import Iterable, Mapping

import asyncpg

from database_service.store.pool import Conn

_ENOUGH_TO_BE_RANDOM = 32
"""Characters of the shortest secret we make: 192 bits in base64."""
_RUN = re.compile(rf"[A-Za-z0-9_-]{{{_ENOUGH_TO_BE_RANDOM},}}")
_BIRTHS = {"subprocess.Popen": (1, 3), "os.exec": (1, 2), "os.posix_spawn": (1, 2)}
"""Audit events of a new process, and where in theirs are the arguments and the environment."""


class Leak(AssertionError):
    """A secret was told where it must not be. The message shows the place and what is around it, never the secret."""


class Remembered:
    """Secrets as they are, and as PostgreSQL shows them where a `bytea` holds them unsealed."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._lengths: set[int] = set()

    def __len__(self) -> int:
        return len(self._forms) // 2

    def remember(self, secret: str) -> str:
        """The same secret, which from now on is a leak wherever it is told."""
        if _RUN.fullmatch(secret):
            self._forms |= {secret, secret.encode().hex()}
            self._lengths |= {len(secret), 2 * len(secret)}
        return secret

    def leaks_in(self, told: str) -> set[str]:
        """Which secrets are in it. Every stretch that may be one is looked up, so this costs the same however many there are."""
        stretches = {
            run[start : start + length]
            for run in _RUN.findall(told)
            for length in self._lengths
            for start in range(len(run) - length + 1)
        }
        return self._forms & stretches

    def refuse(self, told: str, where: str) -> None:
        """Leak, if there is one in it."""
        if leaks := self.leaks_in(told):
            raise Leak(f"{len(leaks)} secret(s) told in {where}: {surroundings(told, leaks)}")


def surroundings(told: str, leaks: Iterable[str], width: int = 80) -> str:
    """What stands around the first leak, with every leak blotted out."""
    for leak in leaks:
        told = told.replace(leak, "<SECRET>")
    at = told.index("<SECRET>")
    return told[max(0, at - width) : at + width]


KNOWN = Remembered()


def watch() -> None:
    """From now on, remember every secret made in this process, and start no process that is given one. Cannot be undone."""
    make = secrets.token_urlsafe
    secrets.token_urlsafe = lambda nbytes=None: KNOWN.remember(make(nbytes))
    sys.addaudithook(_look_at_birth)


def _look_at_birth(event: str, told: tuple[object, ...]) -> None:
    if event in _BIRTHS:
        for place, where in zip(_BIRTHS[event], ("arguments", "environment"), strict=True):
            KNOWN.refuse(_as_text(told[place]), f"the {where} of a new process")


def _as_text(told: object) -> str:
    if isinstance(told, Mapping):
        return "\n".join(f"{_as_text(name)}={_as_text(value)}" for name, value in told.items())
    if isinstance(told, list | tuple):
        return "\n".join(map(_as_text, told))
    return told.decode(errors="replace") if isinstance(told, bytes) else str(told)


async def rows_of(conn: "Conn | asyncpg.Connection[asyncpg.Record]") -> dict[str, str]:
    """Every table's rows, as text: all columns, whatever their type."""
    tables = await conn.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    return {name: await _rows_of_table(conn, name) for (name,) in tables}


async def _rows_of_table(conn: "Conn | asyncpg.Connection[asyncpg.Record]", name: str) -> str:
    rows: str = await conn.fetchval(f"""SELECT coalesce(string_agg(to_jsonb(t)::text, E'\\n'), '') FROM "{name}" t""")
    return rows


async def refuse_in_rows(conn: Conn) -> None:
    for table, rows in (await rows_of(conn)).items():
        KNOWN.refuse(rows, f"table {table}")
