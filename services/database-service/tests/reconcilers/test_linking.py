"""The audit trail on a real database: linked without holding anybody up, refused to whoever edits it, verified afterwards."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from database_service.domain.chain import LATE, Flaw, Head
from database_service.reconcilers import linking
from database_service.reconcilers.linking import link_events, link_late_events
from database_service.reconcilers.resealing import reseal
from database_service.secretbox import SecretBox
from database_service.store import events, links
from database_service.store.pool import Conn
from database_service.views.chain import Verification, verify
from database_service.views.events import page
from support.house import WHO, House

BEHIND_THE_TRIGGERS = "SET LOCAL session_replication_role = replica"
"""As whoever has the superuser, or the files."""


async def note(house: House, number: int = 1) -> None:
    async with house.deps.db.transaction() as conn:
        for _ in range(number):
            await note_in(conn, house)


async def note_in(conn: Conn, house: House) -> None:
    await events.append(
        conn, at=house.clock(), who=WHO, action="server.cordoned", subject="server", subject_id=uuid4()
    )  # fmt: skip


async def by_force(house: House, *statements: str) -> None:
    async with house.deps.db.transaction() as conn:
        for statement in (BEHIND_THE_TRIGGERS, *statements):
            await conn.execute(statement)


async def found(house: House) -> tuple[Flaw | None, int | None]:
    fault = (await verify(house.deps)).fault
    return (fault.flaw, fault.event_id) if fault else (None, None)


@pytest.fixture
async def linked(house: House) -> House:
    await note(house, number=7)
    assert await link_events(house.deps) == 7
    return house


async def test_what_was_committed_is_linked_once_and_verified(linked: House) -> None:
    assert await link_events(linked.deps) == 0
    await note(linked, number=2)
    told = await verify(linked.deps)
    assert (told.verified, told.complete, told.unlinked, told.fault) == (7, True, 2, None)


async def test_an_empty_trail_is_in_order(house: House) -> None:
    told = await verify(house.deps)
    assert told == Verification(Head(), 0, True, 0, None, told.at)


async def test_whoever_is_late_is_linked_when_they_commit_and_holds_nobody_up(house: House) -> None:
    async with house.deps.db.connection() as conn:
        late = conn.transaction()
        await late.start()
        await note_in(conn, house)
        await note(house, number=3)
        assert await link_events(house.deps) == 3
        await late.commit()
    assert await link_events(house.deps) == 1
    assert await house.value("SELECT array_agg(event_id ORDER BY seq) FROM links") == [2, 3, 4, 1]
    assert await found(house) == (None, None)


async def test_whoever_is_later_than_any_transaction_should_be_is_linked_by_the_pass_over_everything(
    house: House,
) -> None:
    async with house.deps.db.connection() as conn:
        late = conn.transaction()
        await late.start()
        await note_in(conn, house)
        await note(house)
        assert await link_events(house.deps) == 1
        house.clock.forward(2 * linking.LONGEST_TRANSACTION)
        await late.commit()
    assert await link_events(house.deps) == 0
    assert await link_late_events(house.deps) == 1
    assert await found(house) == (None, None)


async def test_two_at_once_make_one_chain_and_events_go_on_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linking, "BATCH", 5)
    await note(house, number=40)
    await asyncio.gather(*(link_events(house.deps) for _ in range(4)), *(note(house) for _ in range(10)))
    await link_events(house.deps)
    told = await verify(house.deps)
    assert (told.verified, told.unlinked, told.fault) == (50, 0, None)


async def test_whoever_has_the_lock_keeps_others_from_linking_and_not_from_appending(house: House) -> None:
    await note(house)
    async with house.deps.db.transaction() as conn:
        assert await links.alone(conn)
        assert await link_events(house.deps) == 0
        await note(house)
    assert await link_events(house.deps) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET actor = 'nobody' WHERE id = 3", "DELETE FROM events WHERE id = 3", "TRUNCATE events",
        "DELETE FROM links WHERE seq = 7", "TRUNCATE links", "UPDATE links SET hash = mac WHERE seq = 3",
        "UPDATE links SET event_id = 99 WHERE seq = 3",
    ],
)  # fmt: skip
async def test_the_tables_themselves_refuse_to_be_edited(linked: House, statement: str) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="only added to"):
        async with linked.deps.db.transaction() as conn:
            await conn.execute(statement)


@pytest.mark.parametrize(
    ("statements", "flaw", "event_id"),
    [
        (["UPDATE events SET actor = 'nobody' WHERE id = 3"], Flaw.CHANGED, 3),
        (["UPDATE events SET at = at - interval '1 second' WHERE id = 1"], Flaw.CHANGED, 1),
        (["DELETE FROM events WHERE id IN (5, 6)"], Flaw.MISSING, 5),
        (["DELETE FROM events WHERE id = 3", "DELETE FROM links WHERE event_id = 3"], Flaw.MISSING, None),
        (
            ["DELETE FROM events WHERE id = 3", "DELETE FROM links WHERE event_id = 3",
             "UPDATE links SET seq = seq - 1 WHERE seq > 3"],
            Flaw.UNSIGNED, 4,
        ),
        (["UPDATE events SET at = '4000-01-01 BC' WHERE id = 2"], Flaw.CHANGED, 2),
        (["UPDATE events SET at = 'infinity' WHERE id = 2"], Flaw.CHANGED, 2),
        (["UPDATE links SET linked_at = '4000-01-01 BC' WHERE seq = 4"], Flaw.UNSIGNED, 4),
        (["UPDATE links SET hash = sha256(hash) WHERE seq = 4"], Flaw.UNSIGNED, 4),
        (["UPDATE links SET mac_key = 'gone' WHERE seq = 4"], Flaw.UNSIGNED, 4),
    ],
)  # fmt: skip
async def test_an_edit_by_force_is_found_and_the_first_is_named(
    linked: House, statements: Sequence[str], flaw: Flaw, event_id: int | None
) -> None:
    await by_force(linked, *statements)
    assert await found(linked) == (flaw, event_id)


async def test_an_event_that_is_added_in_the_past_is_found_before_it_is_linked_and_after(house: House) -> None:
    await note(house, number=3)
    await house.value("SELECT nextval('events_id_seq')")  # as a transaction that was rolled back leaves it
    await note(house, number=3)
    await link_events(house.deps)
    house.clock.forward(2 * LATE)
    columns = "at, actor, action, subject, subject_id"
    add = f"INSERT INTO events (id, {columns}) OVERRIDING SYSTEM VALUE SELECT 4, {columns} FROM events WHERE id = 3"
    await by_force(house, add)
    assert await found(house) == (Flaw.INSERTED, 4)
    await link_late_events(house.deps)
    assert await found(house) == (Flaw.INSERTED, 4)


async def test_an_event_of_a_year_that_nobody_can_write_down_holds_up_none_of_the_others(house: House) -> None:
    """Who may append may append any moment: it is linked, shown and verified like all the others, at the end of the years."""
    columns = "actor, action, subject, subject_id"
    await note(house, number=1)
    for moment in ("4000-01-01 BC", "12000-01-01", "infinity", "-infinity"):
        await by_force(
            house, f"INSERT INTO events (at, {columns}) SELECT '{moment}', {columns} FROM events WHERE id = 1"
        )
    assert await link_events(house.deps) == 5
    assert (await verify(house.deps)).fault is None
    assert len((await page(house.deps)).events) == 5


async def test_an_event_of_an_id_that_was_never_given_out_keeps_none_of_the_others_waiting(house: House) -> None:
    await note(house, number=1)
    columns = "at, actor, action, subject, subject_id"
    made_up = f"SELECT {2**63 - 1}, {columns} FROM events WHERE id = 1"
    await by_force(house, f"INSERT INTO events (id, {columns}) OVERRIDING SYSTEM VALUE {made_up}")
    assert await link_events(house.deps) == 2
    house.clock.forward(timedelta(minutes=5))
    await note(house, number=2)
    assert await link_events(house.deps) == 2


async def test_a_trail_that_was_cut_off_is_found_by_whoever_kept_its_head(linked: House) -> None:
    kept = (await verify(linked.deps)).head
    assert (await verify(linked.deps, kept)).fault is None
    await by_force(linked, "DELETE FROM events WHERE id > 5", "DELETE FROM links WHERE event_id > 5")
    assert (await verify(linked.deps)).fault is None
    cut = (await verify(linked.deps, kept)).fault
    assert cut
    assert cut.flaw is Flaw.MISSING
    await note(linked, number=2)
    await link_events(linked.deps)
    anew = (await verify(linked.deps, kept)).fault
    assert anew
    assert anew.flaw is Flaw.CHANGED


async def test_a_long_trail_is_verified_piece_by_piece(linked: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("database_service.views.chain.BATCH", 3)
    await by_force(linked, "UPDATE events SET why = 'x' WHERE id = 7")
    first = await verify(linked.deps, most=3)
    assert (first.verified, first.complete, first.unlinked, first.fault) == (3, False, None, None)
    second = await verify(linked.deps, first.head, most=30)
    assert second.fault
    assert (second.verified, second.fault.event_id) == (3, 7)


async def test_a_link_is_signed_anew_when_the_ring_has_a_new_key_and_a_forged_one_is_not(linked: House) -> None:
    both = SecretBox({"new": b"n" * 32, **linked.deps.secrets.keys})
    turned = replace(linked, deps=replace(linked.deps, secrets=both))
    await by_force(linked, "UPDATE links SET hash = sha256(hash) WHERE seq = 4")
    assert (await reseal(turned.deps)).links == 6
    assert await linked.value("SELECT array_agg(seq) FROM links WHERE mac_key = 'test'") == [4]
    assert await found(turned) == (Flaw.UNSIGNED, 4)


async def test_a_chain_goes_on_under_a_new_key_and_needs_the_old_one_no_more_once_it_is_signed_anew(
    linked: House,
) -> None:
    both = replace(linked.deps, secrets=SecretBox({"new": b"n" * 32, **linked.deps.secrets.keys}))
    await note(linked)
    await link_events(both)
    assert (await verify(both)).fault is None
    await reseal(both)
    alone = replace(linked.deps, secrets=SecretBox({"new": b"n" * 32}))
    told = await verify(alone)
    assert (told.verified, told.fault) == (8, None)
    linked.clock.forward(timedelta(hours=1))
    assert (await reseal(alone)).links == 0
