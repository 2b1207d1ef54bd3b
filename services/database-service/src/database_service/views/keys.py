"""The key ring in use: what still needs which key. Ids of keys, never keys."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from database_service.secretbox import SecretBox
from database_service.store.pool import Db
from database_service.store.sealed import KEY_OF, SEALED


@dataclass(frozen=True, slots=True)
class KeyUse:
    """How much was made with one key. `tokens` are those that are still valid."""

    id: str
    on_ring: bool
    seals: bool
    secrets: int = 0
    links: int = 0
    tokens: int = 0

    @property
    def needed(self) -> bool:
        return self.seals or bool(self.secrets or self.links or self.tokens)


@dataclass(frozen=True, slots=True)
class Keys:
    """Those of the ring in its order, then those that are missing from it. `plain_tokens` are stored under none."""

    keys: tuple[KeyUse, ...]
    plain_tokens: int

    @property
    def missing(self) -> tuple[KeyUse, ...]:
        return tuple(key for key in self.keys if not key.on_ring)


SECRETS = f"""
SELECT key_id, sum(number)::bigint AS number FROM ({
    " UNION ALL ".join(
        f"SELECT {KEY_OF.format(value=column.name)} AS key_id, count(*) AS number FROM {column.table} "
        f"WHERE {column.name} IS NOT NULL GROUP BY 1"
        for column in SEALED
    )
}) each GROUP BY 1"""

LINKS = "SELECT mac_key AS key_id, count(*) AS number FROM links GROUP BY 1"

TOKENS = """
SELECT hash_key AS key_id, count(*) AS number FROM tokens
WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1) GROUP BY 1"""


async def in_use(db: Db, ring: SecretBox, now: datetime) -> Keys:
    """What needs which key of the ring, and which that is not on it."""
    async with db.reading() as conn:
        secrets = _counts(await conn.fetch(SECRETS))
        links = _counts(await conn.fetch(LINKS))
        tokens = _counts(await conn.fetch(TOKENS, now))
    plain = tokens.pop(None, 0)
    ids = dict.fromkeys((*ring.keys, *filter(None, (*secrets, *links, *tokens))))
    return Keys(
        tuple(
            KeyUse(
                id=key_id, on_ring=key_id in ring.keys, seals=key_id == ring.newest, secrets=secrets.get(key_id, 0),
                links=links.get(key_id, 0), tokens=tokens.get(key_id, 0),
            )
            for key_id in ids
        ),
        plain,
    )  # fmt: skip


def _counts(rows: Iterable[asyncpg.Record]) -> dict[str | None, int]:
    return {row["key_id"]: row["number"] for row in rows}
