"""Small values with a promise: secrets, names, sizes, backoff, plans."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database_service.domain import backoff, naming
from database_service.domain.errors import PlanHasNoDedicated, SecretUnreadable, UnknownPlan
from database_service.domain.plans import PLANS, ServerType, Tier, plan_of, seat_for
from database_service.domain.policy import Policy
from database_service.domain.secret import Secret
from database_service.domain.sizing import MIB, connections_for, postgres_settings
from database_service.secretbox import SecretBox, new_key, new_password, scram_verifier


def test_a_secret_is_not_shown_by_any_way_of_printing() -> None:
    secret = Secret("hunter2hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {secret:>20} {[secret]} {str(secret)}" + "%s" % secret  # noqa: RUF010, UP031
    assert secret.reveal() == "hunter2hunter2"


@given(st.binary(min_size=8, max_size=8))
def test_names_are_ones_a_caller_could_ask_for_and_need_no_quotes(random: bytes) -> None:
    for name in (naming.database_name(random), naming.owner_role(random), naming.login_role(random)):
        assert naming.problem_with_database_name(name) is None
        assert name.isidentifier()


@given(st.integers(1, 2**40), st.floats(0, 1))
def test_backoff_stays_between_two_thirds_of_its_first_and_its_most(attempts: int, spread: float) -> None:
    policy = Policy()
    assert policy.backoff_first * 2 / 3 <= backoff.delay(policy, attempts, spread) <= policy.backoff_most


def test_backoff_doubles() -> None:
    policy = Policy(backoff_first=timedelta(seconds=1))
    assert [backoff.delay(policy, n, 0).total_seconds() for n in (1, 2, 3, 4)] == [1, 2, 4, 8]


@given(st.integers(1, 10000), st.integers(64 * MIB, 1 << 40), st.floats(0.1, 128))
def test_settings_fit_their_memory(slots: int, memory: int, cpu: float) -> None:
    settings = postgres_settings(slots=slots, memory_bytes=memory, cpu=cpu)
    connections = int(settings["max_connections"])
    assert 60 <= connections <= 500
    assert int(settings["shared_buffers"].removesuffix("MB")) * MIB <= max(memory / 4, 32 * MIB)
    assert int(settings["work_mem"].removesuffix("MB")) >= 1


def test_a_pool_of_fifty_has_more_than_the_default_hundred_connections() -> None:
    assert connections_for(50, 4 * 1024**3) > 100


def test_an_unknown_plan_names_the_known_ones() -> None:
    with pytest.raises(UnknownPlan, match="premium"):
        plan_of("gold")


@pytest.mark.parametrize("tier", Tier)
def test_a_plan_has_a_seat_and_a_dedicated_one_only_where_it_says_so(tier: Tier) -> None:
    assert seat_for(tier, require_dedicated=False) is PLANS[tier].server_type
    if PLANS[tier].dedicated:
        assert seat_for(tier, require_dedicated=True) is ServerType.DEDICATED
    else:
        with pytest.raises(PlanHasNoDedicated, match=tier):
            seat_for(tier, require_dedicated=True)


def test_a_sealed_secret_opens_in_its_place_alone() -> None:
    box = SecretBox.from_ring(new_key("k1"))
    sealed = box.seal(Secret("s3cret-text"), "row-1")
    assert b"s3cret-text" not in sealed
    assert box.open(sealed, "row-1").reveal() == "s3cret-text"
    with pytest.raises(SecretUnreadable):
        box.open(sealed, "row-2")


def test_a_rotated_ring_opens_what_the_old_key_sealed_and_seals_with_the_new() -> None:
    old_entry = new_key("old")
    sealed = SecretBox.from_ring(old_entry).seal(Secret("s"), 1)
    rotated = SecretBox.from_ring(f"{new_key('new')},{old_entry}")
    assert rotated.open(sealed, 1).reveal() == "s"
    assert rotated.seal(Secret("s"), 1).startswith(b"new:")
    with pytest.raises(SecretUnreadable, match="not on the ring"):
        SecretBox.from_ring(new_key("other")).open(sealed, 1)


@pytest.mark.parametrize("ring", ["", "abc", "k:!!", "k:c2hvcnQ=", ":x"])
def test_a_bad_key_ring_is_refused_without_being_shown(ring: str) -> None:
    with pytest.raises(ValueError, match=r"key|entry"):
        SecretBox.from_ring(ring)


def test_passwords_differ_and_need_no_quoting() -> None:
    made = {new_password().reveal() for _ in range(100)}
    assert len(made) == 100
    assert all(p.replace("-", "").replace("_", "").isalnum() and len(p) >= 32 for p in made)


def test_a_verifier_does_not_hold_the_password() -> None:
    verifier = scram_verifier(Secret("swordfish"))
    assert verifier.startswith("SCRAM-SHA-256$4096:")
    assert "swordfish" not in verifier


def test_what_is_derived_for_one_purpose_is_no_use_for_another() -> None:
    box = SecretBox({"k1": b"1" * 32})
    assert box.token_macs.of(b"x") != box.event_macs.of(b"x")
    assert not box.event_macs.fits(box.token_macs.of(b"x"), b"x", "k1")


def test_a_digest_is_made_with_the_newest_key_and_fits_with_the_one_it_was_made_with() -> None:
    old, both = SecretBox({"k1": b"1" * 32}), SecretBox({"k2": b"2" * 32, "k1": b"1" * 32})
    mac = old.event_macs.of(b"x")
    assert both.event_macs.fits(mac, b"x", "k1")
    assert both.event_macs.newest == "k2"
    assert both.event_macs.fits(both.event_macs.of(b"x"), b"x", "k2")
    for message, key_id in ((b"y", "k1"), (b"x", "k2"), (b"x", "gone")):
        assert not both.event_macs.fits(mac, message, key_id)
    assert dict(both.event_macs.all_of(b"x")) == {"k2": both.event_macs.of(b"x"), "k1": mac}
