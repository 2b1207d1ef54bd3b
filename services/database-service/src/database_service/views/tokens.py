"""API tokens as an administrator sees them: never their text, which nobody has, nor its hash."""

from dataclasses import dataclass

from database_service.deps import Deps
from database_service.domain.answers import Token
from database_service.domain.errors import TokenNotFound
from database_service.domain.ids import TokenId
from database_service.store.rows import TOKEN, token_of

_SELECT = f"SELECT {TOKEN} FROM tokens"

ALL = f"{_SELECT} ORDER BY created_at DESC, id DESC"
PAGE = f"""{_SELECT}
WHERE $1::timestamptz IS NULL OR (created_at, id) < ($1, $2::uuid) ORDER BY created_at DESC, id DESC LIMIT $3"""
ONE = f"{_SELECT} WHERE id = $1"


@dataclass(frozen=True, slots=True)
class TokenPage:
    """Tokens, the newest first; valid or not."""

    tokens: tuple[Token, ...]
    next_before: TokenId | None
    """The one to go on from; None at the end."""


async def all_tokens(deps: Deps) -> tuple[Token, ...]:
    """Every token there ever was, the newest first. They are made by hand, so there are few."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(ALL)
    return tuple(token_of(row) for row in rows)


async def page(deps: Deps, *, before: TokenId | None = None, limit: int = 50) -> TokenPage:
    """Tokens that were issued before that one. TokenNotFound where there is no such token: none is ever deleted."""
    place = await one(deps, before) if before else None
    async with deps.db.reading() as conn:
        rows = await conn.fetch(PAGE, place and place.created_at, place and place.id, limit + 1)
    found = tuple(token_of(row) for row in rows[:limit])
    return TokenPage(found, found[-1].id if len(rows) > limit else None)


async def one(deps: Deps, token_id: TokenId) -> Token:
    """TokenNotFound where there is none."""
    row = await deps.db.row(ONE, token_id)
    if row is None:
        raise TokenNotFound(token_id)
    return token_of(row)
