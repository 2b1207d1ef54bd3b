"""The names other services and the beat call. Each is two lines: an id in, a step out."""

import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from celery import Celery, Task

from database_service.actions.allocate import provision_dedicated
from database_service.actions.order_server import order_pool
from database_service.broker import celery as names
from database_service.domain.ids import TASK, CustomerId, DatabaseId, InstanceId, OperationId, ServerId, Who
from database_service.domain.plans import plan_of
from database_service.reconcilers import (
    capacity,
    databases,
    drift,
    history,
    linking,
    operations,
    registers,
    resealing,
    servers,
    sweep,
    upkeep,
    usage,
)
from database_service.tasks.loop import loop

START_PATIENCE = timedelta(seconds=30)

_written = registers.Written()


def register(app: Celery) -> None:
    """Give every task its public name."""
    app.task(name="provision_database_pool", bind=True)(provision_database_pool)
    app.task(name="provision_dedicated_server")(provision_dedicated_server)
    app.task(name=names.RECONCILE_SERVER)(reconcile_server)
    app.task(name=names.RECONCILE_DATABASE)(reconcile_database)
    app.task(name=names.RECONCILE_CAPACITY)(one_at_a_time(reconcile_capacity))
    app.task(name="sweep")(one_at_a_time(sweep_databases))
    app.task(name="sweep_servers")(sweep_servers)
    app.task(name="sweep_operations")(one_at_a_time(sweep_operations))
    app.task(name=names.RUN_OPERATION)(run_operation)
    app.task(name="health_check_db_pools")(health_check_db_pools)
    app.task(name="enforce_limits")(enforce_limits)
    app.task(name="keep_registers")(keep_registers)
    app.task(name="sample_usage")(sample_usage)
    app.task(name="refill_spares")(one_at_a_time(reconcile_capacity))
    app.task(name="cleanup_failed_pools")(one_at_a_time(cleanup_failed_pools))
    app.task(name="purge_released")(one_at_a_time(purge_released))
    app.task(name="forget_requests")(one_at_a_time(forget_requests))
    app.task(name="forget_history")(one_at_a_time(forget_history))
    app.task(name="find_drift")(one_at_a_time(find_drift))
    app.task(name=names.RECONCILE_DRIFT)(one_at_a_time(reconcile_drift))
    app.task(name="link_events")(one_at_a_time(link_events))
    app.task(name="link_late_events")(one_at_a_time(link_late_events))
    app.task(name=names.RESEAL_SECRETS)(one_at_a_time(reseal_secrets))


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


# A doubled or redelivered message carries the same task id, so it orders one pool.
def provision_database_pool(self: Task, max_instances: int = 50) -> None:
    task_id = self.request.id  # read here: the request belongs to this thread, and the step runs on the loop's
    who = Who(f"{TASK}provision_database_pool", task_id)
    loop.run(lambda deps: order_pool(deps, who, max_instances=max_instances, request_key=f"task:{task_id}"))


def provision_dedicated_server(instance_id: str, customer_id: str, plan_tier: str) -> None:
    who, tier = Who(f"{TASK}provision_dedicated_server"), plan_of(plan_tier).tier
    loop.run(lambda deps: provision_dedicated(deps, InstanceId(instance_id), CustomerId(customer_id), tier, who))


# What speaks with servers or with Docker may hang for as long as an effect may take. It is begun and not waited for: a few
# servers that hang would else hold all of Celery's threads, and nothing would be done for the others.
def reconcile_server(server_id: str, request_id: str | None = None) -> None:
    one = ServerId(UUID(server_id))
    loop.begin_step(server_id, lambda deps: servers.settle(deps, one, START_PATIENCE), request_id)


def reconcile_database(database_id: str, request_id: str | None = None) -> None:
    one = DatabaseId(UUID(database_id))
    loop.begin_step(database_id, lambda deps: databases.step(deps, one), request_id)


def reconcile_capacity() -> None:
    loop.run(capacity.step)


def sweep_databases() -> None:
    loop.run(sweep.sweep_databases)


def sweep_servers() -> None:
    loop.begin_step("sweep_servers", sweep.sweep_servers)


def sweep_operations() -> None:
    for operation_id in loop.run(sweep.due_operations) or ():
        run_operation(str(operation_id))


def run_operation(operation_id: str, request_id: str | None = None) -> None:
    one = OperationId(UUID(operation_id))
    loop.begin(operation_id, lambda deps: operations.settle(deps, one, START_PATIENCE), request_id)


def health_check_db_pools() -> None:
    loop.begin_step("health_check_db_pools", upkeep.check_health)


def enforce_limits() -> None:
    loop.begin_step("enforce_limits", upkeep.enforce_limits)


def keep_registers() -> None:
    loop.begin_step("keep_registers", lambda deps: registers.keep(deps, _written))


def sample_usage() -> None:
    loop.begin_step("sample_usage", usage.sample_usage)


def cleanup_failed_pools() -> None:
    loop.run(upkeep.cleanup_failed_pools)


def purge_released() -> None:
    loop.run(upkeep.purge_released)


def forget_requests() -> None:
    loop.run(upkeep.forget_requests)


def forget_history() -> None:
    loop.run(history.forget_history)


def find_drift() -> None:
    loop.run(drift.find_drift)


def reconcile_drift() -> None:
    loop.run(drift.step)


def link_events() -> None:
    loop.run(linking.link_events)


def link_late_events() -> None:
    loop.run(linking.link_late_events)


def reseal_secrets() -> None:
    loop.run(resealing.reseal)
