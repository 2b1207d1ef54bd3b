"""Bounds: every number that the gate obeys."""

from dataclasses import dataclass

AT_PROVIDER = 16


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one process. Times are seconds; counts are requests."""

    at_once: int = 16
    """Inside at once: a little less than there are connections to the control database, which each of them may need."""
    queue: int = 200
    """Before the gate. What does not fit is refused on arrival."""
    longest_wait_s: float = 5.0
    """The most that anybody waits before the gate: the room that a burst is given."""
    hurried_wait_s: float = 0.002
    """The same for as long as more comes than can be served: a queue that stands only makes everybody late."""
    hurried_at_once: int = 2
    """Inside at once for as long: enough to keep a processor and a disk busy, and no more, as the rest only takes turns."""
    calm_after_s: float = 1.0
    """Without a refusal for so long, there is room for a burst again."""
    waiting: int = 5000
    """Held at once until a row changes (`Prefer: wait`, `?wait`); more are answered at once with what is there."""
    watching: int = 1000
    """Open pages of the hub that are told of changes; more are told to ask by themselves."""
    on_servers: int = 64
    """At once on tenant servers; more leave the work to the worker, or are refused where that cannot be."""
    at_provider: int = AT_PROVIDER
    """Sign-ins that wait for the identity provider at once; more are refused."""


BOUNDS = Bounds()
