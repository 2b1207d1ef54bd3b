"""How patient, how eager, how careful: every number that reconcilers and verbs obey."""

from dataclasses import dataclass
from datetime import timedelta


def _s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Policy:
    """Set once from Settings. Times are how long; counts are how many."""

    database_budget: timedelta = _s(1800)
    """How long an instance waits for its database before it is called `error`. It is still asked for after that, slowly."""
    database_poll: timedelta = _s(2)
    """How soon a database that is coming is asked for again where nobody waits on it; then ever more seldom."""
    long_poll: timedelta = _s(20)
    """How long one question to database-service may be held there."""
    follow: timedelta = _s(120)
    """How long a worker keeps at one instance before it leaves the rest to the sweep."""
    start_timeout: timedelta = _s(180)
    """How long a workload may take to answer its first health check."""
    start_attempts: int = 5
    """Starts that came to nothing before a workload is called `error`. It is still tried after that, slowly."""
    start_poll: timedelta = _s(0.5)
    operation_poll: timedelta = _s(1)
    health_interval: timedelta = _s(10)
    """How often a running workload is looked at, and whether its database is still where it was."""
    health_failures: int = 3
    """Looks in a row that find a running workload unwell before it is called `unhealthy`."""
    unhealthy_interval: timedelta = _s(2)
    error_recheck: timedelta = _s(60)
    rotation_overlap: timedelta = _s(3600)
    """How long the login before works beside a new one: much longer than a workload takes to be replaced."""
    lease: timedelta = _s(90)
    """How long one step owns a row. Every effect's own time-out lies well under it."""
    effect_timeout: timedelta = _s(45)
    backoff_first: timedelta = _s(1)
    backoff_most: timedelta = _s(60)
    longest_wait: timedelta = _s(30)
    """The most that `?wait` is honoured for."""
    retry_after: timedelta = _s(2)
    """What a 202 or 503 asks the caller to wait."""
    sweep_width: int = 16
