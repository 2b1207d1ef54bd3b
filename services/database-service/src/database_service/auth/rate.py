"""How fast one may ask: a bucket for each token, and one for each address that shows tokens nobody knows.

Buckets are those of one process. They stop a caller that runs away, not one that works hard.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import ClassVar, Generic, Literal, TypeVar

from database_service.domain.errors import ServiceError
from database_service.observability import metrics

K = TypeVar("K", bound=Hashable)

Whose = Literal["token", "address"]

_SAID = {
    "token": "This token asks too often",
    "address": "Too many tokens or sign-ins that nobody knows come from this address",
}
_MOST_KNOWN = 10_000
_SUBNET = 64


class TooManyRequests(ServiceError):
    code: ClassVar[str] = "too_many_requests"

    def __init__(self, whose: Whose, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{_SAID[whose]}; try again in {retry_after_s} s.")


@dataclass(frozen=True, slots=True)
class Pace:
    """So many requests each second for ever, and a burst of so many at once."""

    per_second: float
    burst: int


OF_TOKEN = Pace(1000, 4000)
OF_STRANGERS = Pace(5, 100)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(frozen=True, slots=True)
class Left:
    """What is left in a bucket after one request; seconds are rounded up."""

    whose: Whose
    pace: Pace
    tokens: float
    """Under 0: that request was one too many, and was not taken out."""

    def must_do(self) -> None:
        """TooManyRequests where the bucket was empty."""
        if self.tokens < 0:
            metrics.limited(self.whose)
            raise TooManyRequests(self.whose, max(1, math.ceil(-self.tokens / self.pace.per_second)))

    def headers(self) -> list[tuple[bytes, bytes]]:
        """`RateLimit-Policy` and `RateLimit`, as the IETF's draft has them (httpapi-ratelimit-headers, version 10)."""
        window = math.ceil(self.pace.burst / self.pace.per_second)
        left = max(0, int(self.tokens))
        full_in = math.ceil((self.pace.burst - left) / self.pace.per_second)
        return [
            (b"ratelimit-policy", f'"{self.whose}";q={self.pace.burst};w={window}'.encode()),
            (b"ratelimit", f'"{self.whose}";r={left};t={full_in}'.encode()),
        ]


class Rate(Generic[K]):
    """A bucket for each key. Those that were not asked for longest are forgotten where there are too many."""

    def __init__(self, whose: Whose, pace: Pace) -> None:
        self._whose: Whose = whose
        self._pace = pace
        self._buckets: OrderedDict[K, _Bucket] = OrderedDict()

    def spend(self, key: K) -> Left:
        """Take one request out of its bucket; where there is none, `tokens` says how much is missing."""
        bucket = self._filled(key)
        if bucket.tokens < 1:
            return Left(self._whose, self._pace, bucket.tokens - 1)
        bucket.tokens -= 1
        return Left(self._whose, self._pace, bucket.tokens)

    def take(self, key: K) -> None:
        """The same, or TooManyRequests."""
        self.spend(key).must_do()

    def give_back(self, key: K) -> None:
        """That request did not count after all."""
        bucket = self._filled(key)
        bucket.tokens = min(self._pace.burst, bucket.tokens + 1)

    def _filled(self, key: K) -> _Bucket:
        """With what dripped in since the last time."""
        now = time.monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._pace.burst, now)
            if len(self._buckets) > _MOST_KNOWN:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        bucket.tokens = min(self._pace.burst, bucket.tokens + (now - bucket.at) * self._pace.per_second)
        bucket.at = now
        return bucket


def neighbourhood(host: str) -> str:
    """Whom an address stands for: itself, or for IPv6 its /64, which one customer of a provider has all of."""
    try:
        address = ip_address(host)
    except ValueError:
        return host  # a Unix socket's, or a proxy's word for somebody
    if not isinstance(address, IPv6Address):
        return host
    return str(address.ipv4_mapped or IPv6Address(int(address) >> _SUBNET << _SUBNET))
