"""API tokens by a digest of their text: keyed, or the plain SHA-256 that they were stored as at first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from database_service.domain.answers import Token
from database_service.domain.ids import TokenId
from database_service.store.pool import Conn
from database_service.store.rows import TOKEN, token_of


@dataclass(frozen=True, slots=True)
class Digest:
    """Of a token's text. `key_id` names the key of the ring it was made under; None: under none."""

    value: bytes
    key_id: str | None


@dataclass(frozen=True, slots=True)
class Stored:
    token: Token
    digest: Digest


INSERT = f"""
INSERT INTO tokens (id, name, hash, hash_key, scopes, customer_id, created_at, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (hash) DO NOTHING RETURNING {TOKEN}"""

# Two rows of one text can only come from two processes with different rings that first met it at once. A revocation counts.
FIND = f"SELECT {TOKEN}, hash, hash_key FROM tokens WHERE hash = ANY ($1::bytea[]) ORDER BY revoked_at LIMIT 1"

# The first revocation stands: a repeated one changes nothing, not even its time.
REVOKE = f"""
UPDATE tokens SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1
RETURNING {TOKEN}, revoked_at = $2 AS now_revoked"""

TOUCH = "UPDATE tokens SET last_used_at = greatest(last_used_at, $2) WHERE id = ANY ($1::uuid[])"

# Of two that would take a name at once, one waits here for the other to commit.
ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('token ' || $1, 0))"

TAKEN = """
SELECT EXISTS (SELECT FROM tokens WHERE name = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2))"""

DIGEST_AGAIN = """
UPDATE tokens SET hash = $3, hash_key = $4
WHERE id = $1 AND hash = $2 AND NOT EXISTS (SELECT FROM tokens WHERE hash = $3)"""


async def insert(conn: Conn, token: Token, digest: Digest) -> bool:
    """False where a token of that digest is there already; it stays as it is."""
    row = await conn.fetchrow(
        INSERT, token.id, token.name, digest.value, digest.key_id, list(token.scopes), token.customer_id, token.created_at,
        token.created_by, token.expires_at,
    )  # fmt: skip
    return row is not None


async def takes_name(conn: Conn, name: str, now: datetime) -> bool:
    """False where a token that is valid has this name; until this transaction ends, nobody else takes it."""
    await conn.execute(ALONE, name)
    return not await conn.fetchval(TAKEN, name, now)


async def find(conn: Conn, digests: Sequence[Digest]) -> Stored | None:
    """The token that is stored under one of them."""
    row = await conn.fetchrow(FIND, [digest.value for digest in digests])
    return Stored(token_of(row), Digest(row["hash"], row["hash_key"])) if row else None


async def digest_again(conn: Conn, token_id: TokenId, old: Digest, new: Digest) -> None:
    """Store it under another key, unless somebody did so before."""
    await conn.execute(DIGEST_AGAIN, token_id, old.value, new.value, new.key_id)


async def revoke(conn: Conn, token_id: TokenId, at: datetime) -> tuple[Token, bool] | None:
    """The revoked token and whether it was this call that revoked it; None where there is none of that id."""
    row = await conn.fetchrow(REVOKE, token_id, at)
    return (token_of(row), row["now_revoked"]) if row else None


async def touch(conn: Conn, token_ids: Iterable[TokenId], at: datetime) -> None:
    """Remember that these were in use about `at`."""
    await conn.execute(TOUCH, list(token_ids), at)
