"""Numbers for Prometheus. One registry per process; each process (API, worker) is scraped for itself."""

from collections.abc import Mapping
from functools import cache
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

__all__ = [
    "CONTENT_TYPE",
    "REGISTRY",
    "nudged",
    "render",
    "request",
    "show_instances",
    "show_unknown_workloads",
    "step",
]

REGISTRY = CollectorRegistry()

_LATENCY_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STEP_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_REQUESTS = Counter("instances_http_requests", "HTTP requests.", ("method", "route", "status"), registry=REGISTRY)
_LATENCY = Histogram(
    "instances_http_request_seconds", "How long they took.", ("method", "route"), buckets=_LATENCY_S, registry=REGISTRY
)
_STEPS = Histogram(
    "instances_step_seconds", "Reconcile steps by outcome.", ("outcome",), buckets=_STEP_S, registry=REGISTRY
)
_NUDGES = Counter(
    "instances_nudges",
    "Nudges by outcome; a lost one costs time until the next sweep.",
    ("outcome",),
    registry=REGISTRY,
)
_INSTANCES = Gauge("instances", "Instances that are not deleted, by status.", ("status",), registry=REGISTRY)
_UNKNOWN = Gauge(
    "instances_unknown_workloads", "Workloads that carry our label and that no row knows.", registry=REGISTRY
)


def request(method: str, route: str, status: int, seconds: float) -> None:
    """An HTTP request was answered; `route` is the template, never the path with ids in it."""
    counter, latency = _of_route(method, route, status)
    counter.inc()
    latency.observe(seconds)


@cache  # finding a labelled child costs more than counting; there are few routes and statuses
def _of_route(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return _REQUESTS.labels(method, route, str(status)), _LATENCY.labels(method, route)


def step(outcome: str, seconds: float) -> None:
    """A reconcile step ended; `outcome` is a move's name or `failed`: a short list, never a message."""
    _STEPS.labels(outcome).observe(seconds)


def nudged(outcome: Literal["sent", "lost"]) -> None:
    _NUDGES.labels(outcome).inc()


def show_instances(by_status: Mapping[str, int]) -> None:
    _INSTANCES.clear()
    for status, count in by_status.items():
        _INSTANCES.labels(status).set(count)


def show_unknown_workloads(count: int) -> None:
    _UNKNOWN.set(count)


def render() -> bytes:
    """All of it in Prometheus' text format."""
    return generate_latest(REGISTRY)
