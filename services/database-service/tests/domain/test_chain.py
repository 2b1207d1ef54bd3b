"""The chain: whatever is done to an event or to a link is found, and the first of it is named."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database_service.domain.chain import LATE, Event, Fault, Flaw, Head, Link, Walk, hash_of, signed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = UUID("00000000-0000-4000-8000-000000000001")
FIRST = Event(1, NOW, "shop", "database.claimed", "database", ID, "i", "spare", "ready", None, "r-1")

Chain = list[tuple[Link, Event | None]]


def mac(seq: int, at: datetime, hash_: bytes) -> bytes:
    return hashlib.sha256(b"ours" + signed(seq, at, hash_)).digest()


def fits(link: Link) -> bool:
    return link.mac == mac(link.seq, link.linked_at, link.hash)


def chained(events: Sequence[Event], at: Sequence[datetime] | None = None) -> Chain:
    before, chain = Head().hash, []
    for seq, event in enumerate(events, start=1):
        linked_at, before = at[seq - 1] if at else NOW, hash_of(before, event)
        chain.append((Link(seq, event.id, linked_at, before, mac(seq, linked_at, before), "k1"), event))
    return chain  # type: ignore[return-value]


def walked(chain: Chain, since: Head | None = None) -> Fault | None:
    walk = Walk(fits, since or Head())
    return next((fault for link, event in chain if (fault := walk.step(link, event))), None)


def events(number: int = 5) -> list[Event]:
    return [replace(FIRST, id=n) for n in range(1, number + 1)]


def test_a_chain_that_nobody_touched_has_no_fault_from_wherever_it_is_walked() -> None:
    chain = chained(events())
    assert walked(chain) is None
    for ordinal, (link, _) in enumerate(chain, start=1):
        assert walked(chain[ordinal:], Head(link.seq, link.hash)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"at": NOW + timedelta(microseconds=1)}, {"actor": "other"}, {"action": "database.purged"}, {"subject": "server"},
        {"subject_id": UUID(int=7)}, {"instance_id": None}, {"before": None}, {"after": "spare"}, {"why": ""},
        {"request_id": "r-2"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_change_of_any_part_of_an_event_is_found_and_named(change: dict[str, object]) -> None:
    chain = chained(events())
    link, event = chain[2]
    assert event
    chain[2] = (link, replace(event, **change))  # type: ignore[arg-type]
    fault = walked(chain)
    assert fault
    assert (fault.flaw, fault.event_id) == (Flaw.CHANGED, 3)


def test_an_event_that_is_gone_is_missed() -> None:
    chain = chained(events())
    chain[2] = (chain[2][0], None)
    fault = walked(chain)
    assert fault
    assert (fault.flaw, fault.event_id, fault.told) == (Flaw.MISSING, 3, "event 3 was removed")


def test_an_event_that_is_gone_with_its_link_is_missed_too() -> None:
    chain = chained(events())
    del chain[2]
    fault = walked(chain)
    assert fault
    assert (fault.flaw, fault.event_id, fault.seq) == (Flaw.MISSING, None, 3)
    assert "after event 2" in fault.told


def test_whoever_links_anew_without_the_key_is_found_out() -> None:
    chain = chained([replace(event, actor="nobody") for event in events()])
    forged = [(replace(link, mac=bytes(32)), event) for link, event in chain]
    fault = walked(forged)
    assert fault
    assert (fault.flaw, fault.event_id) == (Flaw.UNSIGNED, 1)


def test_an_event_that_is_linked_among_those_of_long_ago_was_inserted() -> None:
    then, order = NOW + 2 * LATE, [replace(FIRST, id=n) for n in (1, 3, 4, 9, 2)]
    fault = walked(chained(order, [NOW, NOW, NOW, then, then]))
    assert fault
    assert (fault.flaw, fault.event_id) == (Flaw.INSERTED, 2)
    assert walked(chained(order, [NOW, NOW, NOW, NOW + LATE / 2, NOW + LATE / 2])) is None


def test_a_transaction_that_ended_late_inserted_nothing() -> None:
    order = [replace(FIRST, id=n) for n in (2, 5, 1, 4, 3)]
    assert walked(chained(order, [NOW + timedelta(minutes=n) for n in range(5)])) is None


def test_an_event_that_is_not_linked_where_all_others_are_was_inserted() -> None:
    walk = Walk(fits, Head())
    for link, event in chained(events()):
        walk.step(link, event)
    assert walk.unlinked(1, NOW) is None
    assert walk.unlinked(6, NOW + 2 * LATE) is None
    fault = walk.unlinked(1, NOW + 2 * LATE)
    assert fault
    assert (fault.flaw, fault.event_id) == (Flaw.INSERTED, 1)


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(texts, texts, st.none() | texts, st.none() | texts), min_size=2, max_size=2, unique=True))
def test_two_events_that_differ_are_never_the_same_bytes(told: list[tuple[str, str, str | None, str | None]]) -> None:
    one, other = (
        replace(FIRST, actor=actor, action=action, before=before, after=after) for actor, action, before, after in told
    )
    assert one.canonical != other.canonical


def test_an_event_is_written_the_same_way_for_ever() -> None:
    """Change this, and no chain that is there verifies any more."""
    assert FIRST.canonical == (
        b'[1,"2026-01-01T00:00:00.000000+00:00","shop","database.claimed","database",'
        b'"00000000-0000-4000-8000-000000000001","i","spare","ready",null,"r-1"]'
    )
    assert hash_of(Head().hash, FIRST).hex() == "4bcc73c01e9a9d7a9b0d5d10fbc26bf9a1eaab451b976ad84f2acd5f515cd2e5"
