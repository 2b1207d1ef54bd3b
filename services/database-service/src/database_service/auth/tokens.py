"""API tokens: how they are made, and who holds one."""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from database_service.auth.rate import OF_STRANGERS, Pace, Rate
from database_service.deps import Deps
from database_service.domain.answers import Token
from database_service.domain.errors import ControlDatabaseUnavailable, CustomerForbidden, Forbidden, Unauthenticated
from database_service.domain.ids import CustomerId, TokenId
from database_service.domain.secret import Secret
from database_service.observability.rounds import regularly
from database_service.secretbox import Macs
from database_service.store import tokens as store
from database_service.store.changes import TOKEN_CHANGED
from database_service.store.tokens import Digest, Stored

PREFIX = "dbs_"
_LONGEST = 200
_MOST_REMEMBERED = 10_000


def new_token() -> Secret:
    """`dbs_` and 256 random bits."""
    return Secret(PREFIX + secrets.token_urlsafe(32))


def digests(macs: Macs, token: Secret) -> list[Digest]:
    """All that it may be stored as; the first is what it is stored as from now on.

    Keyed, so that who can read the table cannot even try a guess. Not slow: nobody guesses 256 random bits.
    """
    text = token.reveal().encode()
    keyed = [Digest(value, key_id) for key_id, value in macs.all_of(text)]
    return [*keyed, Digest(hashlib.sha256(text).digest(), None)]


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid token, or a person who is signed in (`auth.oidc.people`)."""

    token_id: TokenId
    """Of a person, who has no token: an id of their own, which is no token's."""
    name: str
    scopes: frozenset[str]
    customer_id: CustomerId | None
    """Whose databases alone it may see and touch; None: everybody's."""
    expires_at: datetime | None
    shown: str = "token"
    """What it is that may lack a scope."""

    def must_hold(self, scopes: Iterable[str]) -> None:
        """Forbidden, naming the first of them that is lacking."""
        for scope in scopes:
            if scope not in self.scopes:
                raise Forbidden(scope, self.shown)

    def must_serve(self, customer_id: str) -> None:
        """CustomerForbidden where it is bound to another customer."""
        if self.customer_id not in (None, customer_id):
            raise CustomerForbidden(self.customer_id)


@dataclass(frozen=True, slots=True)
class _Remembered:
    token: Token
    caller: Caller
    until: float
    """On the monotonic clock."""


class Tokens:
    """Checks tokens, and remembers the good ones for a few seconds.

    A revocation anywhere is heard (LISTEN) and forgets them all at once; while that connection is away they are forgotten
    every second. A token that was refused is never remembered, so a new one works at once; instead, `strangers` says how fast
    tokens of which nothing is known are looked up for one address. Those that were good here before are not strangers, so a
    flood from a proxy's address does not shut out who comes the same way.
    """

    def __init__(
        self, deps: Deps, strangers: Pace = OF_STRANGERS, *, remember_s: float = 5, record_every_s: float = 60
    ) -> None:
        self._deps = deps
        self._strangers: Rate[str] = Rate("address", strangers)
        self._remember_s = remember_s
        self._record_every_s = record_every_s
        self._remembered: dict[bytes, _Remembered] = {}
        self._familiar: set[bytes] = set()
        self._looking: dict[tuple[int, bytes], asyncio.Task[_Remembered]] = {}
        """One look for all who show the same token meanwhile."""
        self._generation = 0
        self._used: set[TokenId] = set()
        self._outdated: dict[TokenId, tuple[Digest, Digest]] = {}
        """Tokens stored under a key that is no longer the newest: what they are stored as, and what they shall be."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Tokens":
        work = (self._forget_when_changed(), regularly(self._record_every_s, self.record_use))
        self._tasks = [asyncio.create_task(each) for each in work]
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._tasks, *self._looking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.record_use()

    async def caller(self, token: Secret, address: str = "") -> Caller:
        """Who holds this token, shown from this address.

        Unauthenticated if nobody (any more), TooManyRequests if the address showed too many that nobody holds,
        ControlDatabaseUnavailable if that cannot be known now.
        """
        key = self._deps.secrets.token_macs.of(token.reveal().encode())
        known = self._remembered.get(key)
        if known is None or known.until < time.monotonic():
            known = await self._looked_up(key, token, address)
        if known.token.expires_at is not None and known.token.expires_at <= self._deps.now():
            raise Unauthenticated
        self._used.add(known.caller.token_id)
        return known.caller

    async def _looked_up(self, key: bytes, token: Secret, address: str) -> _Remembered:
        """Whoever asks after a revocation was heard does not share a look that began before it."""
        now = self._generation, key
        look = self._looking.get(now)
        if look is None:
            look = self._looking[now] = asyncio.create_task(self._meet(key, token, address))
            look.add_done_callback(lambda _: self._looking.pop(now, None))
        return await asyncio.shield(look)

    async def _meet(self, key: bytes, token: Secret, address: str) -> _Remembered:
        shown = digests(self._deps.secrets.token_macs, token)
        if key in self._familiar:
            return await self._look_up(key, shown)
        self._strangers.take(address)
        try:
            known = await self._look_up(key, shown)
        except ControlDatabaseUnavailable:
            self._strangers.give_back(address)
            raise
        self._strangers.give_back(address)
        return known

    async def _look_up(self, key: bytes, shown: Sequence[Digest]) -> _Remembered:
        generation = self._generation
        async with self._deps.db.connection() as conn:
            found = await store.find(conn, shown)
        if found is None or not _fits(found, shown) or found.token.revoked_at is not None:
            self._familiar.discard(key)
            raise Unauthenticated
        if found.digest.key_id != shown[0].key_id:
            self._outdated[found.token.id] = (found.digest, shown[0])
        token = found.token
        caller = Caller(token.id, token.name, frozenset(token.scopes), token.customer_id, token.expires_at)
        known = _Remembered(token, caller, time.monotonic() + self._remember_s)
        self._acquaint(key)
        # A revocation that was heard while we read may be newer than what we read.
        if generation == self._generation:
            self._remembered[key] = known
        return known

    def _acquaint(self, key: bytes) -> None:
        if len(self._familiar) >= _MOST_REMEMBERED:
            self._remembered.clear()
            self._familiar.clear()
        self._familiar.add(key)

    async def _forget_when_changed(self) -> None:
        with self._deps.changes.watch(TOKEN_CHANGED, "*") as changed:
            while True:
                await changed.wait()
                changed.clear()
                self._generation += 1
                self._remembered.clear()

    async def record_use(self) -> None:
        """Write `last_used_at` of the tokens seen since the last time, and digests under the newest key; if the database is
        away, next time."""
        used, outdated = frozenset(self._used), dict(self._outdated)
        if not used:
            return
        try:
            async with self._deps.db.connection() as conn:
                await store.touch(conn, used, self._deps.now())
                for token_id, (old, new) in outdated.items():
                    await store.digest_again(conn, token_id, old, new)
        except ControlDatabaseUnavailable:
            return
        self._used -= used
        self._outdated = {each: told for each, told in self._outdated.items() if each not in outdated}


def _fits(found: Stored, shown: Iterable[Digest]) -> bool:
    """PostgreSQL found it by an index, in a time that may tell how much of it is right; this does not."""
    return any(
        each.key_id == found.digest.key_id and hmac.compare_digest(each.value, found.digest.value) for each in shown
    )


def token_in(header: str | None) -> Secret:
    """The token of an `Authorization: Bearer …` header; Unauthenticated where there is none."""
    scheme, _, text = (header or "").partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not 0 < len(text) <= _LONGEST:
        raise Unauthenticated
    return Secret(text)
