"""The courier: only ids, to the right queue, equal nudges once, and no caller ever waits for a broker."""

import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from structlog.testing import CapturingLogger

from database_service.broker import celery as names
from database_service.broker import courier as courier_module
from database_service.broker.celery import PROVISIONING, ROUTES, new_app, new_sender
from database_service.broker.courier import MOST_PENDING, Courier
from database_service.observability.metrics import REGISTRY
from support.broker import Broker
from support.secrets import KNOWN

SOON_S = 20
QUEUES = set(ROUTES.values())
A, B = UUID(int=1), UUID(int=2)


def counted(outcome: str) -> int:
    return int(REGISTRY.get_sample_value("dbs_nudges_total", {"outcome": outcome}) or 0)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    """What it logs."""
    logger = CapturingLogger()
    monkeypatch.setattr(courier_module, "log", logger)
    return logger


def courier_to(url: str) -> Courier:
    return Courier(new_sender(url))


def without_waiting(work: Callable[[], None]) -> None:
    """Do it in a thread of its own, which must end while the broker is as it is now."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SOON_S)
    assert not thread.is_alive(), "a caller waits for the broker"


def received(broker: Broker) -> bytes:
    """The next message that arrives; None fails the test."""
    with broker.client() as client:
        found = client.blpop([PROVISIONING], timeout=SOON_S)
    assert found, "nothing arrives"
    return found[1]


def test_equal_nudges_that_wait_are_one_and_all_leave_in_their_order(valkey: Broker) -> None:
    courier = courier_to(valkey.url)
    for _ in range(3):
        courier.server(A)
        courier.database(A)
        courier.capacity()
    courier.server(B)
    with courier:
        pass  # to close it is to send what waits
    assert valkey.parcels(PROVISIONING) == [
        (names.RECONCILE_SERVER, [str(A)]),
        (names.RECONCILE_DATABASE, [str(A)]),
        (names.RECONCILE_CAPACITY, []),
        (names.RECONCILE_SERVER, [str(B)]),
    ]


def test_a_nudge_after_its_equal_has_left_is_sent_again(valkey: Broker) -> None:
    with courier_to(valkey.url) as courier:
        for _ in range(2):
            courier.server(A)
            assert str(A).encode() in received(valkey)


def test_a_message_is_ids_and_nothing_else_and_does_not_live_long(valkey: Broker) -> None:
    with courier_to(valkey.url) as courier:
        courier.database(A)
    (message,) = valkey.messages(PROVISIONING)
    assert valkey.parcels(PROVISIONING) == [(names.RECONCILE_DATABASE, [str(A)])]
    assert message["headers"]["expires"]
    KNOWN.refuse(str(message), "a message")


@pytest.mark.parametrize(("name", "queue"), ROUTES.items())
def test_every_task_goes_to_its_queue(valkey: Broker, name: str, queue: str) -> None:
    new_sender(valkey.url).send_task(name)
    assert {there: valkey.parcels(there) for there in QUEUES} == {there: [] for there in QUEUES} | {queue: [(name, [])]}


@pytest.mark.parametrize("queue", sorted(QUEUES))
def test_a_message_from_elsewhere_by_exchange_and_key_is_in_one_queue(valkey: Broker, queue: str) -> None:
    app = new_sender(valkey.url)
    with app.connection_for_write() as connection:
        for declared in app.amqp.queues.values():
            declared(connection.default_channel).declare()
        app.send_task("sweep", connection=connection, exchange=queue, routing_key=queue)
    assert [there for there in sorted(QUEUES) if valkey.messages(there)] == [queue]


def test_without_a_broker_nobody_waits_each_loss_is_counted_and_one_is_told(
    tmp_path: Path, told: CapturingLogger
) -> None:
    lost = counted("lost")
    with courier_to(f"redis+socket://{tmp_path}/nobody.sock") as courier:
        without_waiting(lambda: [courier.server(uuid4()) for _ in range(10)] and None)
    assert counted("lost") - lost == 10
    assert [(call.method_name, call.args) for call in told.calls] == [("warning", ("broker.away",))]


def test_a_broker_that_takes_connections_and_never_answers_keeps_nobody_waiting(valkey: Broker) -> None:
    lost, sent = counted("lost"), counted("sent")
    courier = courier_to(valkey.url)
    valkey.freeze()
    with courier:
        without_waiting(lambda: [courier.server(uuid4()) for _ in range(2 * MOST_PENDING)] and None)
        assert counted("lost") > lost, "more than it keeps is lost at once"
    assert not courier._thread.is_alive(), "to close it is to end it, answer or not"
    assert (counted("lost") - lost, counted("sent") - sent) == (2 * MOST_PENDING, 0)


def test_a_frozen_broker_that_answers_again_is_used_again(valkey: Broker) -> None:
    lost = counted("lost")
    with courier_to(valkey.url) as courier:
        courier.server(A)
        assert str(A).encode() in received(valkey)
        valkey.freeze()
        courier.server(A)
        threads_until(lambda: counted("lost") > lost)
        valkey.thaw()
        with valkey.client() as client:
            client.delete(PROVISIONING)  # what was given up on may have arrived all the same
        courier.server(B)
        assert str(B).encode() in received(valkey)


def test_a_broker_that_comes_back_empty_is_used_again_and_a_second_absence_is_told_again(
    valkey: Broker, told: CapturingLogger
) -> None:
    with courier_to(valkey.url) as courier:
        for absence in (1, 2):
            lost = counted("lost")
            valkey.kill()
            courier.server(A)
            threads_until(lambda lost=lost: counted("lost") > lost)
            valkey.start()
            courier.server(B)
            assert str(B).encode() in received(valkey)
            assert len(told.calls) == absence


def threads_until(true: Callable[[], bool]) -> None:
    """Give the other threads time until it is so."""
    pause = threading.Event()
    for _ in range(SOON_S * 100):
        if true():
            return
        pause.wait(0.01)
    raise AssertionError("never")


def test_the_worker_waits_for_a_broker_and_the_sender_does_not() -> None:
    patient, hasty = (make("redis://127.0.0.1:1/0").conf.broker_transport_options for make in (new_app, new_sender))
    assert hasty["socket_timeout"] < patient["socket_timeout"]
    assert hasty["max_retries"] == 1


@pytest.mark.parametrize("url", ["amqp://u:p@127.0.0.1:1//", "redis://127.0.0.1:1/0"])
def test_every_broker_has_the_three_queues(url: str) -> None:
    queues = {queue.name: queue for queue in new_app(url).conf.task_queues}
    assert set(queues) == set(ROUTES.values())
    if url.startswith("amqp"):
        assert {queue.queue_arguments["x-queue-type"] for queue in queues.values()} == {"quorum"}
