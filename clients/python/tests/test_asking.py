"""What is asked again and what is not, how often, how fast, and under which names."""

import random
from dataclasses import replace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from database_service_client import DatabaseService, Retries, errors, request_id
from database_service_client.testing import FakeDatabaseService

ASK = ("i-1", "c-1", "free")


@pytest.mark.parametrize(
    "code", ["too_many_requests", "unavailable", "control_database_unavailable", "provisioning_failed"]
)
def test_what_passes_is_asked_again(fake: FakeDatabaseService, client: DatabaseService, code: str) -> None:
    fake.fail(code, times=3)
    assert client.allocate(*ASK).instance_id == "i-1"
    assert len(fake.requests) == 4


@pytest.mark.parametrize(
    "code", ["forbidden", "server_busy", "invalid_request", "internal_error", "not_found", "database_gone"]
)
def test_what_does_not_pass_is_told_at_once(fake: FakeDatabaseService, client: DatabaseService, code: str) -> None:
    fake.fail(code)
    with pytest.raises(errors.BY_CODE[code]):
        client.allocate(*ASK)
    assert len(fake.requests) == 1
    assert fake.clock.seconds == 0


def test_a_service_that_is_away_for_a_while_is_waited_for(fake: FakeDatabaseService, client: DatabaseService) -> None:
    fake.be_away(times=5)
    assert client.status(client.allocate(*ASK).instance_id).ready


def test_an_answer_that_was_lost_on_the_way_changes_nothing_twice(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    client.allocate(*ASK)
    fake.lose_answers(times=2)
    rotated = client.rotate("i-1")
    assert len(rotated.logins) == 2
    keys = {request.headers["idempotency-key"] for request in fake.requests[1:]}
    assert (len(fake.requests), len(keys)) == (4, 1)


def test_two_rotations_are_two(client: DatabaseService) -> None:
    client.allocate(*ASK)
    assert client.rotate("i-1").db_user != client.rotate("i-1").db_user


def test_the_pause_is_at_least_what_the_service_asks_for(fake: FakeDatabaseService, client: DatabaseService) -> None:
    fake.fail("too_many_requests", retry_after=7)
    client.allocate(*ASK)
    assert 7 <= fake.clock.seconds < 8


def test_it_gives_up_rather_than_pause_beyond_its_budget(fake: FakeDatabaseService, client: DatabaseService) -> None:
    fake.fail("unavailable", times=9, retry_after=3600)
    with pytest.raises(errors.Unavailable) as gave_up:
        client.status("i-1")
    assert (gave_up.value.retry_after, len(fake.requests), fake.clock.seconds) == (3600, 1, 0)


def test_the_budget_is_kept_whatever_happens(fake: FakeDatabaseService) -> None:
    fake.be_slow(3)
    fake.fail("unavailable", times=99)
    with fake.client(retries=Retries(most=98, budget_s=20)) as client, pytest.raises(errors.Unavailable):
        client.status("i-1")
    assert fake.clock.seconds <= 20


def test_time_limits_repetitions_where_no_number_does(fake: FakeDatabaseService) -> None:
    """However short the dice make the first pauses."""
    fake.be_away(times=10_000)
    with fake.client(time=replace(fake.clock.time, draw=lambda: 0.1)) as client, pytest.raises(errors.Unreachable):
        client.health()
    assert 29 <= fake.clock.seconds <= 30


def test_so_many_repetitions_and_no_more(fake: FakeDatabaseService) -> None:
    fake.be_away(times=99)
    with (
        fake.client(retries=Retries(most=3, budget_s=1000)) as client,
        pytest.raises(errors.Unreachable, match="ConnectError"),
    ):
        client.health()
    assert len(fake.requests) == 4


def test_a_slow_answer_is_not_waited_for_longer_than_the_timeout(fake: FakeDatabaseService) -> None:
    fake.be_slow(60)
    with (
        fake.client(timeout=5, retries=Retries(most=0)) as client,
        pytest.raises(errors.Unreachable, match="ReadTimeout"),
    ):
        client.health()
    assert fake.clock.seconds == 5


def test_what_the_service_is_asked_to_wait_comes_on_top_of_the_timeout(fake: FakeDatabaseService) -> None:
    fake.no_room(seconds=25)
    with fake.client(timeout=2) as client:
        assert client.allocate(*ASK, wait=30).instance_id == "i-1"
    [asked] = fake.requests
    assert (asked.extensions["timeout"]["read"], asked.extensions["timeout"]["connect"]) == (32, 2)


def test_a_token_is_not_asked_for_twice_when_nobody_knows_whether_there_is_one() -> None:
    seen: list[httpx.Request] = []

    def cut(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        raise httpx.ReadError("cut", request=request)

    with (
        DatabaseService("http://x", "t", transport=httpx.MockTransport(cut)) as client,
        pytest.raises(errors.Unreachable),
    ):
        client.admin.issue_token("shop", ["databases:read"])
    assert len(seen) == 1


def test_an_operation_that_was_cancelled_and_nobody_heard_is_cancelled(
    fake: FakeDatabaseService,
) -> None:
    with fake.client(retries=Retries(first_s=4)) as client:
        client.allocate(*ASK)
        op = client.change_plan("i-1", "premium")
        fake.lose_answers()
        assert op.cancel().state == "cancelled"


def test_all_requests_of_one_call_have_one_id_and_so_has_its_error(fake: FakeDatabaseService) -> None:
    fake.fail("unavailable", times=3)
    with fake.client(retries=Retries(most=2)) as client, pytest.raises(errors.Unavailable) as failed:
        client.allocate(*ASK, wait=0)
    assert {request.headers["x-request-id"] for request in fake.requests} == {failed.value.request_id}


def test_a_callers_own_request_id_is_used_and_only_where_it_was_given(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    with request_id("order-17"):
        client.allocate(*ASK)
        fake.be_away(times=99)
        with pytest.raises(errors.Unreachable) as failed:
            client.status("i-1")
    assert {request.headers["x-request-id"] for request in fake.requests} == {"order-17"}
    assert failed.value.request_id == "order-17"
    fake.be_well()
    client.status("i-1")
    assert fake.requests[-1].headers["x-request-id"] != "order-17"


@given(attempt=st.integers(0, 2000), draw=st.floats(0, 1), asked=st.none() | st.floats(0, 1e6))
def test_the_pause_is_drawn_from_nothing_to_a_bound_that_doubles(
    attempt: int, draw: float, asked: float | None
) -> None:
    retries = Retries(first_s=0.1, longest_s=5)
    least = asked or 0
    pause = retries.pause_s(attempt, errors.ApiError("", status=503, retry_after=asked), draw)
    assert least <= pause <= least + min(5, 0.1 * 2 ** min(attempt, 10))


def test_many_callers_do_not_knock_together() -> None:
    dice, error = random.Random(1), errors.ApiError("", status=503)  # noqa: S311  they decide nothing secret
    pauses = [Retries().pause_s(3, error, dice.random()) for _ in range(1000)]
    tenths = [sum(low / 10 <= pause / 0.8 < (low + 1) / 10 for pause in pauses) for low in range(10)]
    assert min(tenths) > 50
