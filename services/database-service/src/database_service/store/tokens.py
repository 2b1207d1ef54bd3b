"""API tokens by the SHA-256 of their text."""

from collections.abc import Iterable
from datetime import datetime

import asyncpg

from database_service.domain.answers import Token
from database_service.domain.ids import TokenId
from database_service.store.pool import Conn

_COLUMNS = "id, name, scopes, created_at, created_by, expires_at, revoked_at, last_used_at"

INSERT = f"""
INSERT INTO tokens (id, name, hash, scopes, created_at, created_by, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (hash) DO NOTHING RETURNING {_COLUMNS}"""

FIND = f"SELECT {_COLUMNS} FROM tokens WHERE hash = $1"

# The first revocation stands: a repeated one changes nothing, not even its time.
REVOKE = f"""
UPDATE tokens SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1
RETURNING {_COLUMNS}, revoked_at = $2 AS now_revoked"""

TOUCH = "UPDATE tokens SET last_used_at = greatest(last_used_at, $2) WHERE id = ANY ($1::uuid[])"


async def insert(conn: Conn, token: Token, digest: bytes) -> bool:
    """False where a token of that digest is there already; it stays as it is."""
    row = await conn.fetchrow(
        INSERT, token.id, token.name, digest, list(token.scopes), token.created_at, token.created_by, token.expires_at
    )
    return row is not None


async def find(conn: Conn, digest: bytes) -> Token | None:
    row = await conn.fetchrow(FIND, digest)
    return _token(row) if row else None


async def revoke(conn: Conn, token_id: TokenId, at: datetime) -> tuple[Token, bool] | None:
    """The revoked token and whether it was this call that revoked it; None where there is none of that id."""
    row = await conn.fetchrow(REVOKE, token_id, at)
    return (_token(row), row["now_revoked"]) if row else None


async def touch(conn: Conn, token_ids: Iterable[TokenId], at: datetime) -> None:
    """Remember that these were in use about `at`."""
    await conn.execute(TOUCH, list(token_ids), at)


def _token(row: asyncpg.Record) -> Token:
    return Token(
        id=TokenId(row["id"]),
        name=row["name"],
        scopes=tuple(row["scopes"]),
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )
