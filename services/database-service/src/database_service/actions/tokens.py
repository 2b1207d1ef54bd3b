"""API tokens: issue, revoke, and the first one."""

from collections.abc import Sequence, Set
from datetime import datetime
from uuid import uuid4

from database_service.auth import scopes as known
from database_service.auth.tokens import digest, new_token
from database_service.deps import Deps
from database_service.domain.answers import Token
from database_service.domain.errors import InvalidField, TokenNotFound
from database_service.domain.ids import BOOTSTRAP, CONSUMER, OUR_ACTORS, TokenId, Who
from database_service.domain.secret import Secret
from database_service.store import events
from database_service.store import tokens as store


async def issue(
    deps: Deps, name: str, scopes: Sequence[str], expires_at: datetime | None, who: Who
) -> tuple[Token, Secret]:
    """A new token and its text, which nobody knows afterwards. InvalidField for a name, scopes or an expiry that is refused."""
    _check(deps, name, scopes, expires_at)
    secret = new_token()
    token = _token(deps, name, scopes, expires_at, who)
    async with deps.db.transaction() as conn:
        await store.insert(conn, token, digest(secret))
        await events.append(
            conn, at=token.created_at, who=who, action="token.issued", subject="token", subject_id=token.id,
            after=" ".join(token.scopes), why=name,
        )  # fmt: skip
    return token, secret


async def revoke(deps: Deps, token_id: TokenId, who: Who) -> Token:
    """It stops working everywhere within a moment; again is no error. TokenNotFound."""
    now = deps.now()
    async with deps.db.transaction() as conn:
        found = await store.revoke(conn, token_id, now)
        if found is None:
            raise TokenNotFound(token_id)
        token, by_us = found
        if by_us:
            await events.append(
                conn, at=now, who=who, action="token.revoked", subject="token", subject_id=token_id, why=token.name
            )
    return token


async def ensure_bootstrap(deps: Deps, token: Secret) -> None:
    """Have the administrator's first token, of this text, with every scope. Safe at each start and in every process.

    One that was revoked stays revoked: a restart must not bring it back. An earlier text stays valid until it is revoked.
    """
    await _ensure(deps, BOOTSTRAP, known.ALL, token)


async def ensure_consumer(deps: Deps, token: Secret) -> None:
    """Have the token of a service that is deployed together with this one; else as `ensure_bootstrap`."""
    await _ensure(deps, CONSUMER, known.OF_CONSUMERS, token)


async def _ensure(deps: Deps, name: str, scopes: Set[str], token: Secret) -> None:
    who = Who(BOOTSTRAP)
    wanted = _token(deps, name, sorted(scopes), None, who)
    async with deps.db.transaction() as conn:
        if await store.insert(conn, wanted, digest(token)):
            await events.append(
                conn, at=wanted.created_at, who=who, action="token.issued", subject="token", subject_id=wanted.id,
                after=" ".join(wanted.scopes), why=wanted.name,
            )  # fmt: skip


def _check(deps: Deps, name: str, scopes: Sequence[str], expires_at: datetime | None) -> None:
    if name.startswith(OUR_ACTORS):
        raise InvalidField("name", "is how the service signs its own events; choose another")
    unknown = [scope for scope in scopes if scope not in known.ALL]
    if unknown or not scopes:
        raise InvalidField("scopes", f"must be some of {', '.join(sorted(known.ALL))}")
    if expires_at is not None and expires_at <= deps.now():
        raise InvalidField("expires_at", "is in the past")


def _token(deps: Deps, name: str, scopes: Sequence[str], expires_at: datetime | None, who: Who) -> Token:
    return Token(
        id=TokenId(uuid4()),
        name=name,
        scopes=tuple(dict.fromkeys(scopes)),
        created_at=deps.now(),
        created_by=who.actor,
        expires_at=expires_at,
        revoked_at=None,
        last_used_at=None,
    )
