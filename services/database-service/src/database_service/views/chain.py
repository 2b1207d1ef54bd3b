"""The audit trail, verified: walked from its first link, or from one that somebody wrote down, towards its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from database_service.deps import Deps
from database_service.domain.chain import LATE, Event, Fault, Flaw, Head, Link, Walk
from database_service.store import links
from database_service.store.links import link_of
from database_service.store.rows import EVENT, LINK, event_of

BATCH = 500
"""Links that are looked at between two looks at whatever else the process has to do: some milliseconds."""
MOST = 100_000
"""Links one request walks: about two seconds."""


@dataclass(frozen=True, slots=True)
class Verification:
    """How far the trail is as it was written: up to `head`, which is the end of the chain where it is `complete`.

    `fault` is what is wrong first; the walk ended there. `unlinked` is how many events came after a complete chain and are
    not in it yet; of these nothing is known. It is None where the end was not reached.
    """

    head: Head
    verified: int
    complete: bool
    unlinked: int | None
    fault: Fault | None
    at: datetime


CHAIN = f"""
SELECT {LINK}, {EVENT}
FROM links l LEFT JOIN events e ON e.id = l.event_id WHERE l.seq > $1 ORDER BY l.seq LIMIT $2"""

AT = f"SELECT {LINK} FROM links l WHERE l.seq = $1"

UNLINKED = """
SELECT count(*) AS number, min(id) AS lowest FROM events e
WHERE NOT EXISTS (SELECT FROM links l WHERE l.event_id = e.id)"""


async def verify(deps: Deps, since: Head | None = None, most: int = MOST) -> Verification:
    """Walk at most so many links. With `since`, a head that an earlier verification told, the chain must still go through
    it, and is walked from there."""
    macs = deps.secrets.event_macs
    closed, fault = await _taken_up(deps, since) if since else (0, None)
    walk = Walk(lambda link: macs.fits(link.mac, link.signed, link.mac_key), since or Head(), closed)
    complete = False
    while not (complete or fault) and walk.walked < most:
        batch = await _batch(deps, walk.head)
        fault, complete = _stepped(walk, batch), not batch
    unlinked = None
    if complete:
        unlinked, lowest = await _unlinked(deps)
        fault = walk.unlinked(lowest, deps.now()) if lowest is not None else None
    return Verification(walk.head, walk.walked, complete, unlinked, fault, deps.now())


def _stepped(walk: Walk, batch: Sequence[tuple[Link, Event | None]]) -> Fault | None:
    return next((fault for link, event in batch if (fault := walk.step(link, event))), None)


async def _batch(deps: Deps, head: Head) -> Sequence[tuple[Link, Event | None]]:
    async with deps.db.reading() as conn:
        rows = await conn.fetch(CHAIN, head.seq, BATCH)
    return [(link_of(row), None if row["id"] is None else event_of(row)) for row in rows]


async def _taken_up(deps: Deps, since: Head) -> tuple[int, Fault | None]:
    """Below which id everything had been linked for long by then; and what is wrong where the chain does not go through it."""
    async with deps.db.reading() as conn:
        found = await conn.fetchrow(AT, since.seq)
        closed = await links.newest_linked(conn, found["linked_at"] - LATE) if found else 0
    if found is None:
        return 0, Fault(Flaw.MISSING, None, since.seq, f"the link {since.seq} is no longer there, nor its event")
    if found["hash"] != since.hash:
        return 0, Fault(Flaw.CHANGED, None, since.seq, f"the link {since.seq} is another one: the chain was made anew")
    return closed, None


async def _unlinked(deps: Deps) -> tuple[int, int | None]:
    async with deps.db.reading() as conn:
        row = await conn.fetchrow(UNLINKED)
    return (row["number"], row["lowest"]) if row else (0, None)
