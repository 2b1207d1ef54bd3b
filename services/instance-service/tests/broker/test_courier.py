"""The courier: only ids, to the right queue, equal nudges once, and no caller ever waits for a broker."""

import time
from uuid import UUID

import structlog

from instance_service.broker.celery import PROVISIONING, RECONCILE_INSTANCE, WAIT_AND_PROVISION, new_sender
from instance_service.broker.courier import Courier
from instance_service.domain.ids import InstanceId
from support.broker import Broker

A = InstanceId(UUID(int=1))


def test_what_travels_is_a_name_an_id_and_the_request_that_set_it_off(valkey: Broker) -> None:
    courier = Courier(new_sender(valkey.url))
    with structlog.contextvars.bound_contextvars(request_id="req-1"):
        for _ in range(3):
            courier.provision(A)
            courier.instance(A)
    with courier:
        told = [_received(valkey) for _ in range(2)]
    assert [name for name in (WAIT_AND_PROVISION, RECONCILE_INSTANCE) if any(name in text for text in told)]
    assert all(str(A) in text and "req-1" in text for text in told)
    assert valkey.client().llen(PROVISIONING) == 0


def _received(broker: Broker) -> str:
    import base64
    import json

    with broker.client() as client:
        found = client.blpop([PROVISIONING], timeout=20)
    assert found, "nothing arrives"
    message = json.loads(found[1])
    return str(message["headers"]) + base64.b64decode(message["body"]).decode()


def test_a_broker_that_is_away_costs_a_caller_nothing() -> None:
    with Courier(new_sender("redis+socket:///nowhere/valkey.sock")) as courier:
        begun = time.monotonic()
        for _ in range(100):
            courier.instance(A)
        assert time.monotonic() - begun < 1
