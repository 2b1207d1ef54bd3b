"""How patient, how eager, how careful: every number that reconcilers and verbs obey."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from database_service.domain.plans import Tier
from database_service.domain.tls import OVERLAP


class Placement(StrEnum):
    SPREAD = "spread"
    BINPACK = "binpack"


def _s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Policy:
    """Set once from Settings. Times are how long; counts are how many."""

    allocate_budget: timedelta = _s(3)
    """How long a request may wait on a tenant server before it answers 202 and leaves the rest to the worker."""
    longest_wait: timedelta = _s(30)
    """The most that `Prefer: wait` and `?wait` are honoured for."""
    retry_after: timedelta = _s(2)
    """What a 202 or 503 asks the caller to wait."""
    lease: timedelta = _s(90)
    """How long one step owns a row. Every effect's own time-out lies well under it."""
    effect_timeout: timedelta = _s(45)
    backoff_first: timedelta = _s(1)
    backoff_most: timedelta = _s(300)
    server_attempts: int = 5
    """Failed starts before a server is called `error`. It is still tried after that, slowly."""
    server_start_timeout: timedelta = _s(180)
    error_recheck: timedelta = _s(60)
    health_interval: timedelta = _s(300)
    health_failures: int = 3
    """Failed logins in a row before a running server counts as unhealthy. A process that is gone counts at once."""
    size_interval: timedelta = _s(900)
    """How often the size of a database is taken of which nothing says that it was written to."""
    failed_pool_grace: timedelta = timedelta(days=1)
    dedicated_data_grace: timedelta = timedelta(days=7)
    reseat_attempts: int = 3
    """Failed builds of a new database on an ill server before it is seated elsewhere."""
    rotation_overlap: timedelta = timedelta(hours=1)
    most_logins: int = 5
    placement: Placement = Placement.SPREAD
    pool_slots: int = 50
    pool_cpu: float = 2
    pool_memory_bytes: int = 4 * 1024**3
    pools_least: int = 0
    pools_most: int = 1000
    auto_order: bool = True
    spares_least: int = 2
    """Spares the fleet keeps for each open shared server; measured demand can only raise it."""
    spares_most: int = 10
    """… up to this many: a burst must not double the fleet."""
    spare_horizon: timedelta = timedelta(minutes=5)
    """Spares cover the demand of this long."""
    spare_plan: Tier = Tier.FREE
    """The plan whose limits a spare is built with: the strictest, so a claim can only widen them."""
    build_width: int = 4
    """Databases built at once on one server: from 4 to 16 the rate hardly grows."""
    sweep_width: int = 16
    drift_grace: timedelta = timedelta(days=1)
    """How long a thing without a row is left alone after it was first found."""
    drift_confirmation: timedelta = timedelta(minutes=15)
    """How long a confirmation to remove it holds."""
    request_log_keep: timedelta = timedelta(days=7)
    backup_within: timedelta = timedelta(hours=26)
    """Somebody is told where the last backup of the control plane is older, or there is none. 0: it is backed up otherwise."""
    history_keep: timedelta = timedelta(days=90)
    """How long it is known, by the day, what servers and databases had."""
    move_drain: timedelta = _s(5)
    """How long transactions may go on once a move has shut the door."""
    move_attempts: int = 3
    """So often a phase may be cut off by a worker's death, with the door shut, before the move is turned back."""
    move_seat_timeout: timedelta = _s(1800)
    move_open_timeout: timedelta = _s(300)
    move_bytes_per_s: float = 40 * 1024**2
    """What a move is expected to manage, dump, restore and comparison together, until moves have been measured."""
    default_provisioner: str = "process"
    default_image: str | None = None
    """What a new server runs, where its provisioner runs images."""
    tls: bool = False
    """New servers of the default provisioner speak TLS, with certificates of our own authority."""
    authority_overlap: timedelta = OVERLAP
    """So long a new authority is only shown, unless it is asked for otherwise."""
