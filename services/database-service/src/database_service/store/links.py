"""Links of the audit trail: which events have none yet, and the chain they are added to."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from database_service.domain.chain import Event, Head, Link
from database_service.store.pool import Conn
from database_service.store.rows import EVENT, LINK, event_of

ALONE = "SELECT pg_try_advisory_xact_lock(x'6462735f6c696e6b'::bigint)"


async def alone(conn: Conn) -> bool:
    """Whether nobody else adds links until this transaction ends."""
    got: bool = await conn.fetchval(ALONE)
    return got


HEAD = "SELECT seq, hash FROM links ORDER BY seq DESC LIMIT 1"


async def head(conn: Conn) -> Head:
    row = await conn.fetchrow(HEAD)
    return Head(row["seq"], row["hash"]) if row else Head()


# An id that was never given out says nothing of those below it.
NEWEST_LINKED = """
SELECT event_id FROM links WHERE linked_at < $1 AND event_id <= coalesce(pg_sequence_last_value('events_id_seq'), 0)
ORDER BY event_id DESC LIMIT 1"""


async def newest_linked(conn: Conn, before: datetime) -> int:
    """The highest id of an event that was linked before that moment; 0 where there is none."""
    return await conn.fetchval(NEWEST_LINKED, before) or 0


UNLINKED = f"""
SELECT {EVENT} FROM events e
WHERE e.id > $1 AND NOT EXISTS (SELECT FROM links l WHERE l.event_id = e.id) ORDER BY e.id LIMIT $2"""


async def unlinked(conn: Conn, above: int, most: int) -> list[Event]:
    """Events without a link, by id."""
    return [event_of(row) for row in await conn.fetch(UNLINKED, above, most)]


INSERT = """
INSERT INTO links (seq, event_id, linked_at, hash, mac, mac_key)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::bytea[], $5::bytea[], $6::text[])"""


async def insert(conn: Conn, links: Sequence[Link]) -> None:
    columns = zip(
        *((link.seq, link.event_id, link.linked_at, link.hash, link.mac, link.mac_key) for link in links), strict=True
    )
    await conn.execute(INSERT, *map(list, columns))


# -- signatures -------------------------------------------------------------------------------------------------------

UNDER_OTHER_KEYS = f"SELECT {LINK} FROM links l WHERE l.seq > $1 AND l.mac_key <> $2 ORDER BY l.seq LIMIT $3"


async def under_other_keys(conn: Conn, after: int, key_id: str, most: int) -> list[Link]:
    """Links above `after` that are not signed with this key."""
    return [link_of(row) for row in await conn.fetch(UNDER_OTHER_KEYS, after, key_id, most)]


SIGN_AGAIN = """
UPDATE links l SET mac = n.mac, mac_key = $4
FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS n (seq, old, mac) WHERE l.seq = n.seq AND l.mac = n.old"""


async def sign_again(conn: Conn, links: Sequence[Link], macs: Sequence[bytes], key_id: str) -> None:
    """Give them these signatures, unless somebody did so before."""
    await conn.execute(
        SIGN_AGAIN, [link.seq for link in links], [link.mac for link in links], list(macs), key_id
    )  # fmt: skip


def link_of(row: asyncpg.Record) -> Link:
    return Link(row["seq"], row["event_id"], row["linked_at"], row["hash"], row["mac"], row["mac_key"])
