"""API tokens: checked quickly, refused at once when they are no longer good."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from database_service.actions.tokens import ensure_bootstrap, issue, revoke
from database_service.auth.scopes import ALL
from database_service.auth.tokens import Caller, Tokens, new_token, token_in
from database_service.domain.errors import (
    ControlDatabaseUnavailable,
    CustomerForbidden,
    InvalidField,
    Unauthenticated,
)
from database_service.domain.ids import CustomerId, TokenId, Who
from database_service.domain.secret import Secret
from database_service.secretbox import SecretBox
from database_service.store import tokens as store
from database_service.store.changes import HEARTBEAT, TOKEN_CHANGED
from database_service.store.pool import Db, open_pool
from support.cable import Cable, cable_to
from support.cluster import Cluster
from support.house import WHO, House

READ = ["databases:read"]


@pytest.fixture
async def tokens(house: House) -> AsyncIterator[Tokens]:
    async with Tokens(house.deps) as tokens:
        yield tokens


async def test_a_good_token_tells_who_holds_it(house: House, tokens: Tokens) -> None:
    token, text = await issue(house.deps, "shop", READ, None, WHO)
    caller = await tokens.caller(text)
    assert (caller.token_id, caller.name, caller.scopes) == (token.id, "shop", {"databases:read"})


async def test_a_revocation_elsewhere_is_heard_although_the_token_is_remembered(house: House, tokens: Tokens) -> None:
    token, text = await issue(house.deps, "shop", READ, None, WHO)
    await tokens.caller(text)
    with house.deps.changes.watch(TOKEN_CHANGED, "*") as heard:
        await revoke(house.deps, token.id, WHO)
        await asyncio.wait_for(heard.wait(), 5)
    with pytest.raises(Unauthenticated):
        await tokens.caller(text)


async def test_a_revocation_heard_while_the_token_is_read_is_not_forgotten(
    house: House, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, text = await issue(house.deps, "shop", READ, None, WHO)
    find = store.find

    async def revoked_after_it_was_read(*args: object) -> object:
        found = await find(*args)  # type: ignore[arg-type]
        with house.deps.changes.watch(TOKEN_CHANGED, "*") as heard:
            await revoke(house.deps, token.id, WHO)
            await asyncio.wait_for(heard.wait(), 5)
        await asyncio.sleep(0)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(store, "find", revoked_after_it_was_read)
        await tokens.caller(text)  # it was good when we looked
    with pytest.raises(Unauthenticated):
        await tokens.caller(text)


async def test_an_expired_token_is_refused_although_it_is_remembered(house: House, tokens: Tokens) -> None:
    _, text = await issue(house.deps, "shop", READ, house.clock() + timedelta(minutes=1), WHO)
    await tokens.caller(text)
    house.clock.forward(timedelta(minutes=1))
    with pytest.raises(Unauthenticated):
        await tokens.caller(text)


async def test_a_token_that_was_refused_works_as_soon_as_it_exists(house: House, tokens: Tokens) -> None:
    text = new_token()
    with pytest.raises(Unauthenticated):
        await tokens.caller(text)
    await ensure_bootstrap(house.deps, text)
    assert (await tokens.caller(text)).scopes == ALL


@pytest.fixture
async def cable(cluster: Cluster) -> AsyncIterator[Cable]:
    async with cable_to(cluster.host, cluster.port) as cable:
        yield cable


async def until_listening(house: House) -> None:
    """Whoever begins to listen forgets what was remembered before."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = $1"
    async with asyncio.timeout(10):
        while await house.value(asked, HEARTBEAT) == 0:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.01)


async def test_a_remembered_token_outlives_a_short_outage_and_no_more(
    house: House, control_dsn: str, cluster: Cluster, cable: Cable
) -> None:
    _, text = await issue(house.deps, "shop", READ, None, WHO)
    await until_listening(house)
    pool = await open_pool(
        control_dsn.replace(f":{cluster.port}/", f":{cable.port}/"), least=0, most=2, application="t"
    )
    cut_off = replace(house.deps, db=Db(pool))
    async with Tokens(cut_off, remember_s=60) as patient, Tokens(cut_off, remember_s=0) as forgetful:
        for tokens in (patient, forgetful):
            await tokens.caller(text)
        await cable.pull()
        assert (await patient.caller(text)).name == "shop"
        with pytest.raises(ControlDatabaseUnavailable):
            await forgetful.caller(text)
        await forgetful.record_use()
        await cable.plug()
        assert (await forgetful.caller(text)).name == "shop"
    await pool.close()
    assert await house.value("SELECT last_used_at IS NOT NULL FROM tokens WHERE name = 'shop'") is True


async def test_use_is_recorded_apart_from_the_request_and_never_backwards(house: House, tokens: Tokens) -> None:
    _, text = await issue(house.deps, "shop", READ, None, WHO)
    last_used = "SELECT last_used_at FROM tokens WHERE name = 'shop'"
    await tokens.caller(text)
    assert await house.value(last_used) is None
    await tokens.record_use()
    first = await house.value(last_used)
    assert first is not None
    house.clock.forward(timedelta(hours=-1))
    await tokens.caller(text)
    await tokens.record_use()
    assert await house.value(last_used) == first


async def test_no_two_tokens_that_are_valid_have_the_same_name(house: House) -> None:
    """Events are signed with it: whoever may issue tokens could act in another's name."""
    token, _ = await issue(house.deps, "shop", READ, house.clock() + timedelta(minutes=1), WHO)
    with pytest.raises(InvalidField, match="name of a token that is valid"):
        await issue(house.deps, "shop", READ, None, WHO)
    house.clock.forward(timedelta(minutes=2))
    again, _ = await issue(house.deps, "shop", READ, None, WHO)
    await revoke(house.deps, again.id, WHO)
    took = await asyncio.gather(*(issue(house.deps, "shop", READ, None, WHO) for _ in range(4)), return_exceptions=True)
    assert sorted(isinstance(one, InvalidField) for one in took) == [False, True, True, True]
    assert token.id != again.id


async def test_a_token_lends_no_trust_for_longer_than_it_has_it(house: House) -> None:
    until = house.clock() + timedelta(minutes=1)
    for expires_at in (None, until + timedelta(seconds=1)):
        with pytest.raises(InvalidField, match="when the token that issues it expires"):
            await issue(house.deps, "shop", READ, expires_at, WHO, until=until)
    token, _ = await issue(house.deps, "shop", READ, until, WHO, until=until)
    assert token.expires_at == until


@pytest.mark.parametrize(
    "name",
    [
        *("reconciler", "bootstrap", "task:provision_database_pool", "oidc:anna/1", "oidc:"),
        *("Oidc:anna/1", "OIDC:", "Task:x", "Reconciler", "RECOVERY", "ta\u017fk:x"),
    ],
)
async def test_no_token_signs_events_as_the_service_does(house: House, name: str) -> None:
    with pytest.raises(InvalidField, match="name"):
        await issue(house.deps, name, READ, None, WHO)


UNSEEN = ("a\u202eb", "a\u2028c", "a\u2029c", "a\u200bb", "\ufeffa", "a\u2066b", "a\nb", "a\x85b", "a\x00b")


@pytest.mark.parametrize("name", UNSEEN)
async def test_a_name_that_turns_the_audit_trail_round_is_refused(house: House, name: str) -> None:
    with pytest.raises(InvalidField, match="name: must be one line"):
        await issue(house.deps, name, READ, None, WHO)


async def test_a_name_may_be_of_any_language(house: House) -> None:
    for name in ("caf\u00e9 \u2603", "\u30c7\u30fc\u30bf\u3000\u30d9\u30fc\u30b9", "\u05e9\u05dc\u05d5\u05dd"):
        assert (await issue(house.deps, name, READ, None, WHO))[0].name == name


async def test_the_first_token_is_made_once_and_a_revoked_one_does_not_come_back(house: House, tokens: Tokens) -> None:
    text = new_token()
    await asyncio.gather(*(ensure_bootstrap(house.deps, text) for _ in range(4)))
    assert await house.value("SELECT count(*) FROM tokens") == 1
    assert await house.value("SELECT count(*) FROM events WHERE action = 'token.issued'") == 1
    await revoke(house.deps, (await tokens.caller(text)).token_id, Who("operator"))
    await ensure_bootstrap(house.deps, text)
    async with Tokens(house.deps) as fresh:
        with pytest.raises(Unauthenticated):
            await fresh.caller(text)


def test_a_new_token_has_256_random_bits_and_says_whose_it_is() -> None:
    texts = {new_token().reveal() for _ in range(100)}
    assert len(texts) == 100
    assert all(text.startswith("dbs_") and len(text) == 4 + 43 for text in texts)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dTpw", "Bearer " + "x" * 201, "dbs_x"])
def test_a_header_without_a_bearer_token_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        token_in(header)


@pytest.mark.parametrize("header", ["Bearer dbs_x", "bearer dbs_x", "BEARER  dbs_x "])
def test_the_scheme_is_read_in_any_case(header: str) -> None:
    assert token_in(header) == Secret("dbs_x")


# -- what is stored ---------------------------------------------------------------------------------------------------

OLD: Mapping[str, bytes] = {"test": b"k" * 32}
NEW: Mapping[str, bytes] = {"new": b"n" * 32}
STORED = "SELECT (hash, hash_key)::text FROM tokens"


def with_ring(house: House, keys: Mapping[str, bytes]) -> House:
    return replace(house, deps=replace(house.deps, secrets=SecretBox(keys)))


async def works(house: House, text: Secret) -> bool:
    """Used once, in a process that ends then."""
    async with Tokens(house.deps) as tokens:
        try:
            await tokens.caller(text)
        except Unauthenticated:
            return False
    return True


async def test_a_digest_is_keyed_so_that_it_tells_nothing_without_the_ring(house: House) -> None:
    _, text = await issue(house.deps, "shop", READ, None, WHO)
    stored = await house.value("SELECT hash FROM tokens")
    plain = text.reveal().encode()
    assert stored == house.deps.secrets.token_macs.of(plain)
    assert stored not in (hashlib.sha256(plain).digest(), hmac.digest(OLD["test"], plain, "sha256"))
    assert not await works(with_ring(house, NEW), text)


async def test_a_token_under_an_older_key_works_and_is_stored_anew_when_it_is_used(house: House) -> None:
    _, text = await issue(house.deps, "shop", READ, None, WHO)
    assert await works(with_ring(house, NEW | OLD), text)
    assert await house.value("SELECT hash_key FROM tokens") == "new"
    assert await works(with_ring(house, NEW), text), "the old key may go"
    assert not await works(house, text)


async def test_a_token_of_an_older_release_works_and_is_stored_anew_when_it_is_used(house: House) -> None:
    _, text = await issue(house.deps, "shop", READ, None, WHO)
    keyed = await house.value(STORED)
    async with house.deps.db.connection() as conn:
        await conn.execute(
            "UPDATE tokens SET hash = $1, hash_key = NULL", hashlib.sha256(text.reveal().encode()).digest()
        )
    assert await works(house, text)
    assert await house.value(STORED) == keyed


async def test_a_key_before_the_last_is_as_good(house: House) -> None:
    _, text = await issue(house.deps, "shop", READ, None, WHO)
    assert await works(with_ring(house, {"newest": b"z" * 32, **NEW, **OLD}), text)


async def test_a_token_that_is_used_under_an_older_key_is_revoked_like_any_other(house: House) -> None:
    token, text = await issue(house.deps, "shop", READ, None, WHO)
    turned = with_ring(house, NEW | OLD)
    assert await works(turned, text)
    await revoke(house.deps, token.id, WHO)
    assert not await works(turned, text)


async def test_a_revoked_first_token_stays_revoked_when_the_ring_turns_and_its_key_goes(house: House) -> None:
    text = new_token()
    await ensure_bootstrap(house.deps, text)
    async with Tokens(house.deps) as tokens:
        await revoke(house.deps, (await tokens.caller(text)).token_id, WHO)
    for keys in (NEW | OLD, NEW):
        turned = with_ring(house, keys)
        await ensure_bootstrap(turned.deps, text)
        assert not await works(turned, text)
    assert await house.value("SELECT count(*) FROM tokens") == 1


async def test_a_first_token_of_an_older_release_is_not_made_twice(house: House) -> None:
    text = new_token()
    await ensure_bootstrap(house.deps, text)
    async with house.deps.db.connection() as conn:
        await conn.execute(
            "UPDATE tokens SET hash = $1, hash_key = NULL", hashlib.sha256(text.reveal().encode()).digest()
        )
    await ensure_bootstrap(house.deps, text)
    assert await house.value("SELECT array_agg(hash_key) FROM tokens") == ["test"]


# -- tokens of one customer -------------------------------------------------------------------------------------------


def test_a_bound_caller_serves_its_customer_alone() -> None:
    free = Caller(TokenId(uuid4()), "t", frozenset(READ), None, None)
    acme = replace(free, customer_id=CustomerId("acme"))
    free.must_serve("globex")
    acme.must_serve("acme")
    with pytest.raises(CustomerForbidden, match="acme"):
        acme.must_serve("globex")


async def test_the_tables_own_check_keeps_a_customers_token_from_an_administrators_scope(house: House) -> None:
    await issue(house.deps, "shop", READ, None, WHO, customer_id=CustomerId("acme"))
    with pytest.raises(Exception, match="tokens_of_a_customer"):
        await house.value("UPDATE tokens SET scopes = '{admin:read}'")
