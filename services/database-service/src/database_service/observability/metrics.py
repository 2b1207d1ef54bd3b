"""Numbers for Prometheus. One registry per process; each process (API, worker) is scraped for itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

__all__ = [
    "CONTENT_TYPE", "REGISTRY", "Fleet", "admitted", "allocated", "aside", "limited", "logged", "nudged", "refused", "render",
    "request", "show_fleet", "signed_in", "step",
]  # fmt: skip

REGISTRY = CollectorRegistry()

_LATENCY_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_QUEUE_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
_STEP_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_REQUESTS = Counter("dbs_http_requests", "HTTP requests.", ("method", "route", "status"), registry=REGISTRY)
_LATENCY = Histogram(
    "dbs_http_request_seconds", "How long they took.", ("method", "route"), buckets=_LATENCY_S, registry=REGISTRY
)
_ALLOCATIONS = Counter("dbs_allocations", "Allocations by outcome.", ("outcome",), registry=REGISTRY)
_STEPS = Histogram(
    "dbs_step_seconds", "Reconcile steps by outcome.", ("reconciler", "outcome"), buckets=_STEP_S, registry=REGISTRY
)
_NUDGES = Counter(
    "dbs_nudges", "Nudges by outcome; a lost one costs time until the next sweep.", ("outcome",), registry=REGISTRY
)
_LOGGED = Counter("dbs_logged_requests", "Rows of the request log by outcome.", ("outcome",), registry=REGISTRY)

_ADMITTED = Histogram(
    "dbs_admission_wait_seconds",
    "How long requests that were let in had to queue.",
    buckets=_QUEUE_S,
    registry=REGISTRY,
)
_REFUSED = Counter(
    "dbs_admission_refused", "Requests refused by the gate (503), by reason.", ("reason",), registry=REGISTRY
)
_ASIDE = Gauge("dbs_requests_aside", "Requests that wait for something and hold no place.", ("why",), registry=REGISTRY)
_LIMITED = Counter(
    "dbs_rate_limited", "Requests refused by a rate (429), by whose rate it is.", ("by",), registry=REGISTRY
)

_SIGN_INS = Counter(
    "dbs_sign_ins", "Sign-ins to the hub, by how and by what came of them.", ("how", "outcome"), registry=REGISTRY
)

_SERVERS = Gauge(
    "dbs_servers", "Servers that are not gone, by status as in lists.", ("status", "health"), registry=REGISTRY
)
_SLOTS = Gauge("dbs_slots", "Room for databases, in slots, on servers that stay.", ("state",), registry=REGISTRY)
_DATABASES = Gauge(
    "dbs_databases", "Tenant databases; purged are those still to be dropped.", ("status",), registry=REGISTRY
)

_DRIFT = Gauge("dbs_drift", "Things that are not as the rows say, by kind.", ("kind",), registry=REGISTRY)

_FULL = Gauge(
    "dbs_storage_full", "Databases in use that are nearly or entirely full, by state.", ("state",), registry=REGISTRY
)

_BACKUP = Gauge(
    "dbs_last_backup_timestamp_seconds",
    "When the control plane was last backed up, in Unix time; 0: never.",
    registry=REGISTRY,
)

AllocationOutcome = Literal["spare", "built", "replay", "pending", "refused"]


@dataclass(frozen=True, slots=True)
class Fleet:
    """The fleet at the moment of a scrape. `servers` is counted by (status, health)."""

    servers: Mapping[tuple[str, str], int]
    slots_free: int
    slots_used: int
    databases: Mapping[str, int]
    drift: Mapping[str, int]
    full: Mapping[str, int]
    backup_at: float
    """Unix time of the last backup; 0 where there is none."""


def request(method: str, route: str, status: int, seconds: float) -> None:
    """An HTTP request was answered; `route` is the template, never the path with ids in it."""
    counter, latency = _of_route(method, route, status)
    counter.inc()
    latency.observe(seconds)


@cache  # finding a labelled child costs more than counting; there are few routes and statuses
def _of_route(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return _REQUESTS.labels(method, route, str(status)), _LATENCY.labels(method, route)


def allocated(outcome: AllocationOutcome) -> None:
    _ALLOCATIONS.labels(outcome).inc()


def step(reconciler: str, outcome: str, seconds: float) -> None:
    """A reconcile step ended; `outcome` is a move's name or an error's code: a short list, never a message."""
    _STEPS.labels(reconciler, outcome).observe(seconds)


def nudged(outcome: Literal["sent", "lost"]) -> None:
    _NUDGES.labels(outcome).inc()


def logged(outcome: Literal["written", "lost"], rows: int) -> None:
    _LOGGED.labels(outcome).inc(rows)


def admitted(waited_s: float) -> None:
    """A request was let in after so long in the queue."""
    _ADMITTED.observe(waited_s)


def refused(reason: str) -> None:
    """The gate sent a request away; `reason` is of a short list."""
    _REFUSED.labels(reason).inc()


def aside(why: str, now: int) -> None:
    """So many requests stand aside for this."""
    _ASIDE.labels(why).set(now)


def limited(by: Literal["token", "address"]) -> None:
    """A request came too soon after those before it."""
    _LIMITED.labels(by).inc()


def signed_in(how: Literal["token", "oidc"], outcome: str) -> None:
    """Somebody signed in to the hub, or tried to; `outcome` is `ok` or an error's code."""
    _SIGN_INS.labels(how, outcome).inc()


def show_fleet(fleet: Fleet) -> None:
    _SERVERS.clear()
    for (status, health), count in fleet.servers.items():
        _SERVERS.labels(status, health).set(count)
    _SLOTS.labels("free").set(fleet.slots_free)
    _SLOTS.labels("used").set(fleet.slots_used)
    _DATABASES.clear()
    for status, count in fleet.databases.items():
        _DATABASES.labels(status).set(count)
    for kind, count in fleet.drift.items():
        _DRIFT.labels(kind).set(count)
    for state, count in fleet.full.items():
        _FULL.labels(state).set(count)
    _BACKUP.set(fleet.backup_at)


def render() -> bytes:
    """All of it in Prometheus' text format."""
    return generate_latest(REGISTRY)
