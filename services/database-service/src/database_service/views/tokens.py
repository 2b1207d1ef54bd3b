"""API tokens as an administrator sees them: never their text, which nobody has, nor its hash."""

from database_service.deps import Deps
from database_service.domain.answers import Token
from database_service.domain.ids import CustomerId, TokenId

ALL = """
SELECT id, name, scopes, customer_id, created_at, created_by, expires_at, revoked_at, last_used_at
FROM tokens ORDER BY created_at DESC, id"""


async def all_tokens(deps: Deps) -> tuple[Token, ...]:
    """Every token there ever was, the newest first. They are made by hand, so there are few."""
    async with deps.db.reading() as conn:
        rows = await conn.fetch(ALL)
    return tuple(
        Token(
            id=TokenId(row["id"]),
            name=row["name"],
            scopes=tuple(row["scopes"]),
            customer_id=CustomerId(row["customer_id"]) if row["customer_id"] else None,
            created_at=row["created_at"],
            created_by=row["created_by"],
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
            last_used_at=row["last_used_at"],
        )
        for row in rows
    )
