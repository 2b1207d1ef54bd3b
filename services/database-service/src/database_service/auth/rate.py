"""How fast one token may ask: a bucket per token and process. It stops a caller that runs away, not one that works hard."""

import math
import time
from dataclasses import dataclass
from typing import ClassVar

from database_service.domain.errors import ServiceError
from database_service.domain.ids import TokenId


class TooManyRequests(ServiceError):
    code: ClassVar[str] = "too_many_requests"

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"This token asks too often; try again in {retry_after_s} s.")


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Rate:
    """`per_second` requests for ever, and `burst` at once."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: dict[TokenId, _Bucket] = {}

    def take(self, token_id: TokenId) -> None:
        """One request of this token; TooManyRequests when its bucket is empty."""
        now = time.monotonic()
        bucket = self._buckets.setdefault(token_id, _Bucket(self._burst, now))
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._per_second)
        bucket.at = now
        if bucket.tokens < 1:
            raise TooManyRequests(math.ceil((1 - bucket.tokens) / self._per_second))
        bucket.tokens -= 1
