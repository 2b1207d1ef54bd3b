"""API tokens: issue, revoke, and the first one."""

from collections.abc import Sequence, Set
from datetime import datetime
from uuid import uuid4

from database_service.auth import scopes as known
from database_service.auth.tokens import digests, new_token
from database_service.deps import Deps
from database_service.domain.answers import Token
from database_service.domain.errors import InvalidField, TokenNotFound
from database_service.domain.ids import BOOTSTRAP, CONSUMER, OUR_ACTORS, CustomerId, TokenId, Who
from database_service.domain.secret import Secret
from database_service.domain.wording import is_one_line
from database_service.store import events
from database_service.store import tokens as store


async def issue(
    deps: Deps,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
    who: Who,
    *,
    customer_id: CustomerId | None = None,
    until: datetime | None = None,
) -> tuple[Token, Secret]:
    """A new token and its text, which nobody knows afterwards. With `customer_id` it is for this customer's databases alone.
    Whoever issues it is trusted `until` then itself, and lends no trust for longer.

    InvalidField for a name, scopes or an expiry that is refused. Events are signed with a token's name, so no two that are valid
    have the same.
    """
    _check(deps, name, scopes, expires_at)
    if until is not None and (expires_at is None or expires_at > until):
        raise InvalidField(
            "expires_at", f"must be {until.isoformat()} at the latest, when the token that issues it expires"
        )
    _check_bound(scopes, customer_id)
    secret = new_token()
    token = _token(deps, name, scopes, expires_at, who, customer_id)
    async with deps.db.transaction() as conn:
        if not await store.takes_name(conn, name, token.created_at):
            raise InvalidField("name", "is the name of a token that is valid; choose another, or revoke that one first")
        await store.insert(conn, token, digests(deps.secrets.token_macs, secret)[0])
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
    who, shown = Who(BOOTSTRAP), digests(deps.secrets.token_macs, token)
    wanted = _token(deps, name, sorted(scopes), None, who)
    async with deps.db.transaction() as conn:
        if found := await store.find(conn, shown):
            # Also one that is revoked: once its key is gone from the ring, nothing else would know it again.
            await store.digest_again(conn, found.token.id, found.digest, shown[0])
        elif await store.insert(conn, wanted, shown[0]):
            await events.append(
                conn, at=wanted.created_at, who=who, action="token.issued", subject="token", subject_id=wanted.id,
                after=" ".join(wanted.scopes), why=wanted.name,
            )  # fmt: skip


def _check(deps: Deps, name: str, scopes: Sequence[str], expires_at: datetime | None) -> None:
    if not is_one_line(name):
        raise InvalidField("name", "must be one line, without characters that cannot be seen or turn a line round")
    if name.casefold().startswith(OUR_ACTORS):
        raise InvalidField("name", "is how the service signs its own events; choose another")
    unknown = [scope for scope in scopes if scope not in known.ALL]
    if unknown or not scopes:
        raise InvalidField("scopes", f"must be some of {', '.join(sorted(known.ALL))}")
    if expires_at is not None and expires_at <= deps.now():
        raise InvalidField("expires_at", "is in the past")


def _check_bound(scopes: Sequence[str], customer_id: CustomerId | None) -> None:
    """What no scope of these asks about belongs to no customer."""
    if customer_id is not None and not set(scopes) <= known.OF_CONSUMERS:
        raise InvalidField(
            "scopes", f"of a token for one customer must be some of {', '.join(sorted(known.OF_CONSUMERS))}"
        )


def _token(
    deps: Deps,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
    who: Who,
    customer_id: CustomerId | None = None,
) -> Token:
    return Token(
        id=TokenId(uuid4()),
        name=name,
        scopes=tuple(dict.fromkeys(scopes)),
        customer_id=customer_id,
        created_at=deps.now(),
        created_by=who.actor,
        expires_at=expires_at,
        revoked_at=None,
        last_used_at=None,
    )
