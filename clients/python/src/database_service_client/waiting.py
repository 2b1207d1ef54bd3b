"""How verbs wait: held requests of a length that the service honours, until a deadline, and never in a hot circle."""

from dataclasses import dataclass
from math import ceil
from typing import Self

from database_service_client.asking import Time
from database_service_client.errors import ApiError, Unreachable
from database_service_client.steps import Steps, pause

LONGEST_HELD_S = 30
"""What the service holds one request at most."""
ROUND_S = 1
"""What one look takes at least: a service that answers at once although it was asked to hold is not asked without end."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """`ends` is by the client's clock; None: never. `until` is what it means for each request that is made meanwhile."""

    time: Time
    ends: float | None
    until: float | None

    @classmethod
    def after(cls, time: Time, seconds: float | None) -> Self:
        """With 0, one request, which may take what any other may."""
        ends = None if seconds is None else time.now() + seconds
        return cls(time, ends, ends if seconds else None)

    @property
    def passed(self) -> bool:
        return self.ends is not None and self.time.now() >= self.ends

    def cut(self, seconds: float) -> float:
        """That long, or what is left."""
        return seconds if self.ends is None else max(0.0, min(seconds, self.ends - self.time.now()))

    def held_s(self, most: int = LONGEST_HELD_S) -> int:
        """How long the next request may be held: the service counts in whole seconds."""
        return min(most, ceil(self.cut(most)))

    def outlast(self, error: Unreachable | ApiError) -> Steps[None]:
        """Pause before the next look, no sooner than the service asks for. Raises what does not pass, or not in time."""
        asked_s = 0.0
        if isinstance(error, ApiError):
            if not error.passing:
                raise error
            asked_s = error.retry_after or 0.0
        wait_s = asked_s + ROUND_S + self.time.draw()
        if self.ends is not None and self.time.now() + wait_s > self.ends:
            raise error
        yield from pause(wait_s)

    def rest_of_round(self, began: float, least_s: float = ROUND_S, *, idle: bool = False) -> Steps[None]:
        """Pause until a look that `began` then has taken `least_s`."""
        short_s = self.cut(least_s - (self.time.now() - began))
        if short_s > 0:
            yield from pause(short_s, idle=idle)
