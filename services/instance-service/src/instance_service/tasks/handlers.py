"""The names other services and the beat call. Each is an id in, a step out."""

import threading
from collections.abc import Callable
from uuid import UUID

from celery import Celery

from instance_service.broker import celery as names
from instance_service.domain.ids import InstanceId
from instance_service.reconcilers.following import follow
from instance_service.reconcilers.leftovers import clear_leftovers
from instance_service.reconcilers.sweep import sweep
from instance_service.settings import load_settings
from instance_service.tasks.loop import loop


def register(app: Celery) -> None:
    """Give every task its public name."""
    app.task(name=names.WAIT_AND_PROVISION)(wait_for_database_and_provision)
    app.task(name=names.RECONCILE_INSTANCE)(reconcile_instance)
    app.task(name=names.SWEEP)(one_at_a_time(sweep_instances))
    app.task(name=names.CLEAR_LEFTOVERS)(one_at_a_time(clear_leftover_workloads))


def one_at_a_time(work: Callable[[], None]) -> Callable[[], None]:
    """Work that is asked for while it runs is done once more afterwards, not beside itself: many calls are one."""
    running = threading.Lock()
    asked_for = threading.Event()

    def guarded() -> None:
        asked_for.set()
        while asked_for.is_set() and running.acquire(blocking=False):
            try:
                asked_for.clear()
                work()
            finally:
                running.release()

    return guarded


def wait_for_database_and_provision(instance_id: str, request_id: str | None = None) -> None:
    """Ask for its database, wait until it is ready, start its workload. What this begins the row keeps: it may die any time."""
    _keep_at(instance_id, request_id)


def reconcile_instance(instance_id: str, request_id: str | None = None) -> None:
    """Somebody wants something of it."""
    _keep_at(instance_id, request_id)


def _keep_at(instance_id: str, request_id: str | None) -> None:
    most = load_settings().follow_most
    loop.keep_at(instance_id, most, lambda deps: follow(deps, InstanceId(UUID(instance_id))), request_id)


def sweep_instances() -> None:
    """Whatever is due, and then whoever is on their way is followed: their nudge may have been lost with another worker."""
    for instance_id in loop.run(sweep) or ():
        _keep_at(str(instance_id), None)


def clear_leftover_workloads() -> None:
    """What no instance stands for any more is removed, or told of."""
    loop.run(clear_leftovers)
