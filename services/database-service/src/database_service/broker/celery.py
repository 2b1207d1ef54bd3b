"""The Celery application as sender and worker both see it: three queues, no results, no retries, messages that are ids."""

from datetime import timedelta
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

PROVISIONING = "database_provisioning"
MONITORING = "database_monitoring"
MAINTENANCE = "database_maintenance"

RECONCILE_SERVER = "reconcile_server"
RECONCILE_DATABASE = "reconcile_database"
RECONCILE_CAPACITY = "reconcile_capacity"
RECONCILE_DRIFT = "reconcile_drift"
RUN_OPERATION = "run_operation"
RESEAL_SECRETS = "reseal_secrets"

ROUTES = {
    "provision_database_pool": PROVISIONING,
    "provision_dedicated_server": PROVISIONING,
    RECONCILE_SERVER: PROVISIONING,
    RECONCILE_DATABASE: PROVISIONING,
    RECONCILE_CAPACITY: PROVISIONING,
    "sweep": MONITORING,
    "sweep_servers": MONITORING,
    "health_check_db_pools": MONITORING,
    "enforce_limits": MONITORING,
    "sample_usage": MONITORING,
    "sweep_operations": MONITORING,
    RUN_OPERATION: MAINTENANCE,
    "keep_registers": MAINTENANCE,
    "refill_spares": MAINTENANCE,
    "cleanup_failed_pools": MAINTENANCE,
    "purge_released": MAINTENANCE,
    "forget_requests": MAINTENANCE,
    "forget_history": MAINTENANCE,
    "find_drift": MAINTENANCE,
    RECONCILE_DRIFT: MAINTENANCE,
    "link_events": MAINTENANCE,
    "link_late_events": MAINTENANCE,
    RESEAL_SECRETS: MAINTENANCE,
}

CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 1.0
"""For a sender: taking a message costs a broker less than a millisecond."""


def new_app(broker_url: str) -> Celery:
    """A configured application. RabbitMQ gets quorum queues; Redis and Valkey are told soon that a connection is dead."""
    app = Celery("database_service", set_as_current=False)
    app.conf.update(
        broker_url=broker_url,
        broker_connection_timeout=CONNECT_TIMEOUT_S,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        task_default_queue=PROVISIONING,
        task_routes={name: {"queue": queue} for name, queue in ROUTES.items()},
        timezone="UTC",
        **_transport(broker_url),
    )
    return app


def new_sender(broker_url: str) -> Celery:
    """An application that only sends: it gives up on a broker that is away, or never answers, instead of waiting for it."""
    app = new_app(broker_url)
    options = {**(app.conf.broker_transport_options or {}), "max_retries": 1, "interval_start": 0, "interval_step": 0.1}
    if "socket_timeout" in options:
        options["socket_timeout"] = ANSWER_TIMEOUT_S
    app.conf.broker_transport_options = options
    return app


def _transport(broker_url: str) -> dict[str, Any]:
    names = (PROVISIONING, MONITORING, MAINTENANCE)
    if broker_url.startswith("amqp"):
        return {
            "task_queues": [_quorum_queue(name) for name in names],
            "task_default_queue_type": "quorum",
            "task_default_exchange_type": "topic",
        }
    return {
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in names],
        # A message of a worker that died comes back after this; the sweep is there long before.
        "broker_transport_options": {
            "visibility_timeout": int(timedelta(minutes=10).total_seconds()),
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "socket_timeout": 30,
            "socket_keepalive": True,
        },
    }


def _quorum_queue(name: str) -> Queue:
    exchange = Exchange("database_service", type="topic")
    return Queue(name, exchange=exchange, routing_key=name, queue_arguments={"x-queue-type": "quorum"})
