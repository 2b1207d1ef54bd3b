"""Linking: committed events are added to the chain of the audit trail, so that nobody can edit it unnoticed."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from database_service.deps import Deps
from database_service.domain.chain import Event, Head, Link, hash_of, signed
from database_service.store import links

BATCH = 500
LONGEST_TRANSACTION = timedelta(minutes=1)
"""Above what our own session settings let one live: statements, and pauses between them, end after 15 s."""


async def link_events(deps: Deps) -> int:
    """Link what was committed since the last time; returns how many, 0 also where another process is just at it.

    Ids become visible out of order: a transaction that took its id earlier may commit later. Below an event that was
    linked longer ago than any transaction lives, nothing is still to come.
    """
    async with deps.db.connection() as conn:
        settled = await links.newest_linked(conn, deps.now() - LONGEST_TRANSACTION)
    return await _link(deps, settled)


async def link_late_events(deps: Deps) -> int:
    """The same, and whatever became visible later than any event should."""
    return await _link(deps, 0)


async def _link(deps: Deps, above: int) -> int:
    linked = 0
    while found := await _batch(deps, above):
        linked += len(found)
        above = found[-1].id
    return linked


async def _batch(deps: Deps, above: int) -> Sequence[Event]:
    async with deps.db.transaction() as conn:
        if not await links.alone(conn):
            return ()
        head = await links.head(conn)
        found = await links.unlinked(conn, above, BATCH)
        if found:
            await links.insert(conn, list(_chained(deps, head, found)))
    return found


def _chained(deps: Deps, head: Head, found: Sequence[Event]) -> Iterator[Link]:
    """Each of these events linked to the one before it, the first to `head`."""
    macs, now, before = deps.secrets.event_macs, deps.now(), head.hash
    for seq, event in enumerate(found, start=head.seq + 1):
        before = hash_of(before, event)
        yield Link(seq, event.id, now, before, macs.of(signed(seq, now, before)), macs.newest)
