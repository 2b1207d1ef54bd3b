"""API tokens: how they are made, and who holds one."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass

from database_service.deps import Deps
from database_service.domain.answers import Token
from database_service.domain.errors import ControlDatabaseUnavailable, Forbidden, Unauthenticated
from database_service.domain.ids import TokenId
from database_service.domain.secret import Secret
from database_service.store import tokens as store
from database_service.store.changes import TOKEN_CHANGED

PREFIX = "dbs_"
_LONGEST = 200
_MOST_REMEMBERED = 10_000


def new_token() -> Secret:
    """`dbs_` and 256 random bits."""
    return Secret(PREFIX + secrets.token_urlsafe(32))


def digest(token: Secret) -> bytes:
    """What is stored. One round of SHA-256 is enough: nobody guesses 256 random bits, so there is nothing to slow down."""
    return hashlib.sha256(token.reveal().encode()).digest()


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid token."""

    token_id: TokenId
    name: str
    scopes: frozenset[str]

    def must_hold(self, scopes: Iterable[str]) -> None:
        """Forbidden, naming the first of them that is lacking."""
        for scope in scopes:
            if scope not in self.scopes:
                raise Forbidden(scope)


@dataclass(frozen=True, slots=True)
class _Remembered:
    token: Token
    caller: Caller
    until: float
    """On the monotonic clock."""


class Tokens:
    """Checks tokens, and remembers the good ones for a few seconds.

    A revocation anywhere is heard (LISTEN) and forgets them all at once; while that connection is away they are forgotten
    every second. A token that was refused is never remembered, so a new one works at once.
    """

    def __init__(self, deps: Deps, *, remember_s: float = 5, record_every_s: float = 60) -> None:
        self._deps = deps
        self._remember_s = remember_s
        self._record_every_s = record_every_s
        self._remembered: dict[bytes, _Remembered] = {}
        self._generation = 0
        self._used: set[TokenId] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Tokens":
        self._tasks = [asyncio.create_task(self._forget_when_changed()), asyncio.create_task(self._record_regularly())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.record_use()

    async def caller(self, token: Secret) -> Caller:
        """Who holds this token. Unauthenticated if nobody (any more), ControlDatabaseUnavailable if that cannot be known now."""
        key = digest(token)
        known = self._remembered.get(key)
        if known is None or known.until < time.monotonic():
            known = await self._look_up(key)
        if known.token.expires_at is not None and known.token.expires_at <= self._deps.now():
            raise Unauthenticated
        self._used.add(known.caller.token_id)
        return known.caller

    async def _look_up(self, key: bytes) -> _Remembered:
        generation = self._generation
        async with self._deps.db.connection() as conn:
            token = await store.find(conn, key)
        if token is None or token.revoked_at is not None:
            raise Unauthenticated
        caller = Caller(token.id, token.name, frozenset(token.scopes))
        known = _Remembered(token, caller, time.monotonic() + self._remember_s)
        # A revocation that was heard while we read may be newer than what we read.
        if generation == self._generation:
            self._remember(key, known)
        return known

    def _remember(self, key: bytes, known: _Remembered) -> None:
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = known

    async def _forget_when_changed(self) -> None:
        with self._deps.changes.watch(TOKEN_CHANGED, "*") as changed:
            while True:
                await changed.wait()
                changed.clear()
                self._generation += 1
                self._remembered.clear()

    async def _record_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._record_every_s)  # noqa: TID251  how stale `last_used_at` may be; nothing depends on it
            await self.record_use()

    async def record_use(self) -> None:
        """Write `last_used_at` of the tokens seen since the last time; if the database is away, next time."""
        used = frozenset(self._used)
        if not used:
            return
        try:
            async with self._deps.db.connection() as conn:
                await store.touch(conn, used, self._deps.now())
        except ControlDatabaseUnavailable:
            return
        self._used -= used


def token_in(header: str | None) -> Secret:
    """The token of an `Authorization: Bearer …` header; Unauthenticated where there is none."""
    scheme, _, text = (header or "").partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not 0 < len(text) <= _LONGEST:
        raise Unauthenticated
    return Secret(text)
