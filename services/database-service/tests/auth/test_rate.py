"""The bucket: a burst at once, then as many as drip in."""

from uuid import uuid4

import pytest

from database_service.auth import rate
from database_service.auth.rate import Pace, Rate, TooManyRequests, neighbourhood
from database_service.domain.ids import TokenId


class _Time:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> _Time:
    time = _Time()
    monkeypatch.setattr(rate, "time", time)
    return time


def test_a_burst_passes_and_then_one_for_each_drop(time: _Time) -> None:
    bucket, token = Rate[TokenId]("token", Pace(per_second=2, burst=3)), TokenId(uuid4())
    for _ in range(3):
        bucket.take(token)
    with pytest.raises(TooManyRequests) as refused:
        bucket.take(token)
    assert refused.value.retry_after_s == 1
    time.now += 0.5
    bucket.take(token)
    with pytest.raises(TooManyRequests):
        bucket.take(token)


def test_rest_fills_the_bucket_but_not_beyond_the_burst(time: _Time) -> None:
    bucket, token = Rate[TokenId]("token", Pace(per_second=2, burst=3)), TokenId(uuid4())
    bucket.take(token)
    time.now += 3600
    for _ in range(3):
        bucket.take(token)
    with pytest.raises(TooManyRequests):
        bucket.take(token)


def test_what_is_given_back_can_be_taken_again(time: _Time) -> None:
    bucket = Rate[str]("address", Pace(per_second=2, burst=1))
    bucket.take("here")
    bucket.give_back("here")
    bucket.take("here")
    with pytest.raises(TooManyRequests):
        bucket.take("here")


def test_the_headers_tell_what_is_left_and_when_all_is_there_again(time: _Time) -> None:
    bucket = Rate[str]("token", Pace(per_second=2, burst=10))
    for _ in range(7):
        left = bucket.spend("here")
    assert dict(left.headers()) == {b"ratelimit-policy": b'"token";q=10;w=5', b"ratelimit": b'"token";r=3;t=4'}
    for _ in range(4):
        left = bucket.spend("here")
    assert dict(left.headers())[b"ratelimit"] == b'"token";r=0;t=5'


def test_a_flood_of_keys_does_not_fill_the_memory(time: _Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "_MOST_KNOWN", 3)
    buckets = Rate[str]("address", Pace(per_second=2, burst=1))
    for key in ("a", "b", "c", "a", "d"):
        buckets.spend(key)
    assert len(buckets._buckets) == 3
    assert "b" not in buckets._buckets


@pytest.mark.parametrize(
    ("host", "stands_for"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_stands_for_whom_it_belongs_to(host: str, stands_for: str) -> None:
    assert neighbourhood(host) == stands_for
