"""Sealed secrets, wherever they are: one list of columns, so that a key that is to go is missed in none."""

from collections.abc import Sequence
from dataclasses import dataclass

from database_service.store.pool import Conn


@dataclass(frozen=True, slots=True)
class Column:
    """Where sealed secrets are. `place`, a unique column of the type `place_type`, is what each is bound to."""

    table: str
    name: str
    place: str
    place_type: str


SEALED = (
    Column("logins", "password_sealed", "id", "uuid"),
    Column("servers", "admin_password_sealed", "id", "uuid"),
    Column("servers", "admin_password_next", "id", "uuid"),
    Column("moves", "mover_password_sealed", "mover_role", "text"),
    Column("authorities", "key_sealed", "id", "uuid"),
    Column("certificates", "key_sealed", "server_id", "uuid"),
)

NOT_SEALED = frozenset({("tokens", "hash"), ("links", "hash"), ("links", "mac")})
"""Columns of the type `bytea` with digests in them, which open to nothing."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """One sealed secret and what it is bound to."""

    place: object
    value: bytes


KEY_OF = "convert_from(substring({value} FROM 1 FOR greatest(position('\\x3a'::bytea IN {value}) - 1, 0)), 'UTF8')"
"""SQL: the id of the key that a secret was sealed with; empty where it is none of ours."""

UNDER_OTHER_KEYS = {
    column: f"""
SELECT {column.place} AS place, {column.name} AS value FROM {column.table}
WHERE {column.name} IS NOT NULL AND ($1::{column.place_type} IS NULL OR {column.place} > $1)
  AND {KEY_OF.format(value=column.name)} <> $2
ORDER BY {column.place} LIMIT $3"""
    for column in SEALED
}


async def under_other_keys(conn: Conn, column: Column, after: object, key_id: str, most: int) -> list[Sealed]:
    """Secrets that are not sealed with this key, in the order of their places, above `after`."""
    return [
        Sealed(row["place"], row["value"]) for row in await conn.fetch(UNDER_OTHER_KEYS[column], after, key_id, most)
    ]


# Compared with the old bytes, so a password that was changed meanwhile stays; locked rows are passed by, so nobody waits
# for this and this for nobody: they are found again.
REPLACE = {
    column: f"""
WITH free AS (
  SELECT t.{column.place} AS place, n.new FROM {column.table} t
  JOIN unnest($1::{column.place_type}[], $2::bytea[], $3::bytea[]) AS n (place, old, new)
    ON t.{column.place} = n.place AND t.{column.name} = n.old
  FOR UPDATE OF t SKIP LOCKED
), replaced AS (
  UPDATE {column.table} t SET {column.name} = free.new FROM free WHERE t.{column.place} = free.place RETURNING 1
)
SELECT count(*) FROM replaced"""
    for column in SEALED
}


async def replace(conn: Conn, column: Column, old: Sequence[Sealed], new: Sequence[bytes]) -> int:
    """Put `new` where `old` still is and nobody else is at work; returns how many."""
    places, values = [each.place for each in old], [each.value for each in old]
    replaced: int = await conn.fetchval(REPLACE[column], places, values, list(new))
    return replaced
