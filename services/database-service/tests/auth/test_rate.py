"""The bucket: a burst at once, then as many as drip in."""

from uuid import uuid4

import pytest

from database_service.auth import rate
from database_service.auth.rate import Rate, TooManyRequests
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
    bucket, token = Rate(per_second=2, burst=3), TokenId(uuid4())
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
    bucket, token = Rate(per_second=2, burst=3), TokenId(uuid4())
    bucket.take(token)
    time.now += 3600
    for _ in range(3):
        bucket.take(token)
    with pytest.raises(TooManyRequests):
        bucket.take(token)
