"""The ring turns while the service serves: nothing is lost, nobody waits, and in the end the old key is not needed."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from uuid import uuid4

import pytest

from database_service.actions.allocate import allocate
from database_service.actions.credentials import credentials
from database_service.actions.rotate import rotate
from database_service.actions.tokens import issue, revoke
from database_service.deps import Deps
from database_service.domain.answers import Allocation
from database_service.domain.ids import InstanceId
from database_service.reconcilers import registers, resealing
from database_service.reconcilers.linking import link_events
from database_service.reconcilers.resealing import Resealed, reseal
from database_service.secretbox import SecretBox
from database_service.store import sealed, servers
from database_service.store.sealed import NOT_SEALED, SEALED, Sealed
from database_service.views.keys import KeyUse, in_use
from support.house import WHO, House, ask, login

LOGINS = SEALED[0]
NEW: Mapping[str, bytes] = {"new": b"n" * 32}

BYTES = """
SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'bytea'"""


def with_ring(house: House, keys: Mapping[str, bytes]) -> Deps:
    return replace(house.deps, secrets=SecretBox(keys))


def turned(house: House) -> Deps:
    """As a process that was started with a new key in front."""
    return with_ring(house, NEW | house.deps.secrets.keys)


async def uses(deps: Deps) -> dict[str, KeyUse]:
    return {key.id: key for key in (await in_use(deps.db, deps.secrets, deps.now())).keys}


@pytest.fixture
async def lived_in(house: House) -> House:
    """A pool whose password is being changed, two tenants and a spare."""
    pool = await house.pool()
    for instance in ("a", "b"):
        await allocate(house.deps, ask(instance), WHO)
    await house.spares(1)
    async with house.deps.db.transaction() as conn:
        await servers.want_password(conn, pool.id, house.deps.secrets.sealed_again(pool.admin_password_sealed, pool.id))
    return house


async def test_every_column_of_bytes_is_known_to_be_sealed_or_not_to_be(house: House) -> None:
    async with house.deps.db.connection() as conn:
        there = {(row["table_name"], row["column_name"]) for row in await conn.fetch(BYTES)}
    assert there == {(column.table, column.name) for column in SEALED} | NOT_SEALED


async def test_after_one_pass_the_old_key_is_needed_by_nothing_and_all_still_opens(lived_in: House) -> None:
    deps = turned(lived_in)
    assert (await uses(deps))["test"].secrets == 5
    assert (await reseal(deps)).secrets == 5
    assert (await uses(deps))["test"] == KeyUse("test", on_ring=True, seals=False)
    assert not (await uses(deps))["test"].needed
    alone = with_ring(lived_in, NEW)
    for instance in ("a", "b"):
        conn = await login(await credentials(alone, InstanceId(instance), WHO))
        await conn.close()
    assert await reseal(alone) == Resealed(0, 0)


async def test_a_pass_goes_on_from_batch_to_batch(lived_in: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resealing, "BATCH", 1)
    assert (await reseal(turned(lived_in))).secrets == 5


async def test_a_password_that_changed_meanwhile_is_not_put_back(lived_in: House) -> None:
    deps, place = turned(lived_in), (await lived_in.logins("a"))[0].id
    async with deps.db.connection() as conn:
        [old] = [each for each in await sealed.under_other_keys(conn, LOGINS, None, "new", 9) if each.place == place]
        stale = Sealed(place, deps.secrets.sealed_again(old.value, place))
        assert await sealed.replace(conn, LOGINS, [stale], [b"new:lost"]) == 0
        assert await sealed.replace(conn, LOGINS, [old], [stale.value]) == 1
    assert (await lived_in.logins("a"))[0].password_sealed == stale.value


async def test_a_row_that_somebody_works_on_is_passed_by_and_found_again(lived_in: House) -> None:
    deps = turned(lived_in)
    async with lived_in.deps.db.transaction() as conn:
        await conn.execute(
            "SELECT FROM logins WHERE database_id = (SELECT id FROM databases WHERE instance_id = 'a') FOR UPDATE"
        )
        assert (await reseal(deps)).secrets == 4
    assert (await reseal(deps)).secrets == 1


async def test_what_cannot_be_opened_is_told_and_keeps_nothing_else_from_being_sealed_anew(lived_in: House) -> None:
    lost = SecretBox({"lost": b"l" * 32})
    login_id = (await lived_in.logins("a"))[0].id
    async with lived_in.deps.db.connection() as conn:
        held = lived_in.deps.secrets.open((await lived_in.logins("a"))[0].password_sealed, login_id)
        await conn.execute("UPDATE logins SET password_sealed = $2 WHERE id = $1", login_id, lost.seal(held, login_id))
    deps = turned(lived_in)
    assert (await reseal(deps)).secrets == 4
    found = await in_use(deps.db, deps.secrets, deps.now())
    assert found.missing == (KeyUse("lost", on_ring=False, seals=False, secrets=1),)


async def test_claims_and_rotations_go_on_while_the_ring_turns(house: House) -> None:
    """Some processes still seal with the old key, and know the new one; others seal with the new one already."""
    await house.pool(slots=20)
    await house.spares(8)
    answers: dict[str, Allocation] = {}

    async def tenant(instance: str) -> None:
        answer = await allocate(knowing, ask(instance), WHO)
        for process in (knowing, deps):
            answer = await rotate(process, InstanceId(instance), WHO)
        assert isinstance(answer, Allocation)
        answers[instance] = answer

    async def again_and_again() -> None:
        while not done.is_set():
            await reseal(deps)
            await asyncio.sleep(0)

    deps, knowing, done = turned(house), with_ring(house, {**house.deps.secrets.keys, **NEW}), asyncio.Event()
    passes = asyncio.create_task(again_and_again())
    await asyncio.gather(*(tenant(f"i-{number}") for number in range(8)))
    done.set()
    await passes
    await reseal(deps)
    assert not (await uses(deps))["test"].needed
    alone = with_ring(house, NEW)
    for instance, answer in answers.items():
        now = await credentials(alone, InstanceId(instance), WHO)
        assert (now.login.role, now.password) == (answer.login.role, answer.password)
        conn = await login(now)
        await conn.close()


async def test_tokens_and_links_need_their_keys_too_and_what_is_over_needs_none(house: House) -> None:
    token, _ = await issue(house.deps, "shop", ["databases:read"], None, WHO)
    await link_events(house.deps)
    alone = with_ring(house, NEW)
    assert (await uses(alone))["test"] == KeyUse("test", on_ring=False, seals=False, links=1, tokens=1)
    await revoke(house.deps, token.id, WHO)
    assert (await uses(alone))["test"].tokens == 0
    assert (await uses(alone))["new"] == KeyUse("new", on_ring=True, seals=True)


async def test_tokens_of_an_older_release_are_counted_apart(house: House) -> None:
    async with house.deps.db.connection() as conn:
        await conn.execute(
            """INSERT INTO tokens (id, name, hash, scopes, created_at, created_by)
            VALUES ($1, 'old', sha256('x'), '{databases:read}', $2, 'tests')""",
            uuid4(),
            house.clock(),
        )
    assert (await in_use(house.deps.db, house.deps.secrets, house.clock())).plain_tokens == 1


async def test_what_is_kept_beside_servers_follows_the_ring(lived_in: House) -> None:
    known = registers.Written()
    assert await registers.keep(lived_in.deps, known) == 1
    assert await registers.keep(lived_in.deps, known) == 0
    turned_ring = turned(lived_in)
    await reseal(turned_ring)
    assert await registers.keep(turned_ring, known) == 1
