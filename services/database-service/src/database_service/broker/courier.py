"""Courier: carries nudges to the broker from a thread of its own, so that no caller ever waits for a broker."""

import threading
from collections import OrderedDict
from types import TracebackType
from uuid import UUID

import structlog
from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import OperationalError
from redis import RedisError

from database_service.broker.celery import (
    CONNECT_TIMEOUT_S,
    RECONCILE_CAPACITY,
    RECONCILE_DATABASE,
    RECONCILE_DRIFT,
    RECONCILE_SERVER,
    RESEAL_SECRETS,
    RUN_OPERATION,
)
from database_service.observability import metrics

log = structlog.get_logger(__name__)

MOST_PENDING = 1000
BROKER_AWAY = (OperationalError, RedisError, AMQPError, OSError)

Parcel = tuple[str, tuple[str, ...]]


class Courier:
    """A Nudge. Equal nudges that wait are one; what does not fit, or finds no broker, is dropped: the sweep will look anyway."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._waiting: OrderedDict[Parcel, str | None] = OrderedDict()
        self._changed = threading.Condition()
        self._open = True
        self._away = False
        self._thread = threading.Thread(target=self._carry, name="courier", daemon=True)

    def __enter__(self) -> "Courier":
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _tb: TracebackType | None
    ) -> None:
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join(timeout=CONNECT_TIMEOUT_S + 1)

    def server(self, server_id: UUID) -> None:
        self._put(RECONCILE_SERVER, str(server_id))

    def database(self, database_id: UUID) -> None:
        self._put(RECONCILE_DATABASE, str(database_id))

    def operation(self, operation_id: UUID) -> None:
        self._put(RUN_OPERATION, str(operation_id))

    def capacity(self) -> None:
        self._put(RECONCILE_CAPACITY)

    def drift(self) -> None:
        self._put(RECONCILE_DRIFT)

    def reseal(self) -> None:
        self._put(RESEAL_SECRETS)

    def _put(self, task: str, *args: str) -> None:
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        with self._changed:
            if len(self._waiting) >= MOST_PENDING:
                metrics.nudged("lost")
                return
            self._waiting.setdefault((task, args), request_id)
            self._changed.notify()

    def _take(self) -> tuple[Parcel, str | None] | None:
        with self._changed:
            while self._open and not self._waiting:
                self._changed.wait()
            return self._waiting.popitem(last=False) if self._waiting else None

    def _carry(self) -> None:
        while (taken := self._take()) is not None:
            try:
                self._send(*taken)
            except Exception:  # this thread has no successor: a defect may cost a nudge, not all of them
                log.exception("nudge.crashed")

    def _send(self, parcel: Parcel, request_id: str | None) -> None:
        task, args = parcel
        named = {"request_id": request_id} if request_id and args else {}
        try:
            self._app.send_task(task, args=args, kwargs=named, retry=False, ignore_result=True, expires=60)
        except BROKER_AWAY as e:
            self._lose(e)
        else:
            self._away = False
            metrics.nudged("sent")

    def _lose(self, error: Exception) -> None:
        """What waits would meet the same silence; each loss is counted, and the first of a row of them is told."""
        with self._changed:
            lost = 1 + len(self._waiting)
            self._waiting.clear()
        for _ in range(lost):
            metrics.nudged("lost")
        if not self._away:
            log.warning("broker.away", error=type(error).__name__, lost=lost)
        self._away = True
