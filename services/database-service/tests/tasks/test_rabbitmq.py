"""The same on RabbitMQ: nudges reach a worker, nothing is lost with one, and while the broker is away the sweep is enough."""

import asyncio
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest
from amqp.exceptions import InternalError

from database_service.broker.celery import PROVISIONING, ROUTES, new_sender
from database_service.broker.courier import BROKER_AWAY, MOST_PENDING, Courier
from database_service.broker.pulse import Pulse
from database_service.domain.errors import Unavailable
from database_service.domain.ids import ServerId
from database_service.domain.servers import Status
from support.house import House
from support.rabbitmq import Held, RabbitMQ
from support.web import open_web

Process = subprocess.Popen[bytes]
SOON_S = 60
AT_ONCE_S = 5
WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def broker_url(rabbit: RabbitMQ) -> str:
    return rabbit.url


# -- messages ----------------------------------------------------------------------------------------------------------


def test_every_task_waits_in_its_quorum_queue(rabbit: RabbitMQ) -> None:
    sender = new_sender(rabbit.url)
    for name in ROUTES:
        sender.send_task(name)
    names = list(ROUTES.values())
    for queue in set(names):
        held_until(rabbit, queue, Held("quorum", names.count(queue), 0))


def held_until(rabbit: RabbitMQ, queue: str, held: Held) -> None:
    """Return when it is so; what RabbitMQ tells of a queue is some moments old."""
    for _ in range(SOON_S):
        seen = rabbit.queues().get(queue)
        if seen == held:
            return
    raise AssertionError(f"{queue} holds {seen}")


# -- a worker ----------------------------------------------------------------------------------------------------------


async def test_a_nudge_is_enough_for_a_worker_to_settle_a_pool(house: House, rabbit: RabbitMQ, worker: Process) -> None:
    server_id = await house.ordered()
    with Courier(new_sender(rabbit.url)) as courier:
        courier.server(server_id)
    await active(house, server_id, worker)
    held_until(rabbit, PROVISIONING, Held("quorum", 0, 0))


async def test_what_a_worker_was_at_when_it_was_killed_another_does_at_the_next_sweep(
    house: House, control_dsn: str, rabbit: RabbitMQ, new_worker: Callable[[], Process]
) -> None:
    server_id = await house.ordered()
    async with holding_all(control_dsn):
        killed = new_worker()
        with Courier(new_sender(rabbit.url)) as courier:
            courier.server(server_id)
        waiting = await somebody_waits(house)
        killed.kill()
        await house.value("SELECT pg_terminate_backend($1)", waiting)
    new_sender(rabbit.url).send_task("sweep_servers")
    await active(house, server_id, new_worker())


@asynccontextmanager
async def holding_all(dsn: str) -> AsyncIterator[None]:
    """A lock on all servers: whoever wants to step stands still."""
    conn = await asyncpg.connect(dsn)
    try:
        async with conn.transaction():
            await conn.execute("LOCK TABLE servers IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await conn.close()


async def somebody_waits(house: House) -> int:
    """The backend that stands in the way of the lock."""
    async with asyncio.timeout(SOON_S):
        while not isinstance(pid := await house.value(WAITING), int):  # noqa: ASYNC110  another process waits for PostgreSQL
            await asyncio.sleep(0.05)
    return pid


async def active(house: House, server_id: ServerId, worker: Process) -> None:
    async with asyncio.timeout(SOON_S):
        while (await house.server(server_id)).status is not Status.ACTIVE:
            assert worker.poll() is None, "it ended"
            await asyncio.sleep(0.05)


# -- away, and back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["kill", "freeze"])
async def test_without_it_requests_are_answered_at_once_and_the_sweep_does_the_work(
    house: House, rabbit: RabbitMQ, trouble: str
) -> None:
    await house.pool()
    getattr(rabbit, trouble)()
    with Courier(new_sender(rabbit.url)) as courier:
        house = replace(house, deps=replace(house.deps, nudge=courier))
        async with open_web(house) as web, asyncio.timeout(AT_ONCE_S):
            answers = [await web.allocate(f"i-{number}", "free") for number in range(3)]
            assert [answer.status_code for answer in answers] == [200] * 3
            assert (await web.client.delete("/databases/i-1")).status_code < 300
        await house.until_quiet()
    assert await house.value("SELECT count(*) FROM databases WHERE status = 'ready'") == 2


async def test_it_is_told_whether_it_answers(rabbit: RabbitMQ) -> None:
    pulse = Pulse(new_sender(rabbit.url))
    await pulse()
    for trouble, end in ((rabbit.freeze, rabbit.thaw), (rabbit.kill, rabbit.start)):
        trouble()
        async with asyncio.timeout(20):
            with pytest.raises(Unavailable, match="broker"):
                await pulse()
        end()
        await pulse()


def test_a_frozen_one_keeps_no_caller_waiting_and_is_used_again_when_it_is_back(rabbit: RabbitMQ) -> None:
    with Courier(new_sender(rabbit.url)) as courier:
        courier.server(UUID(int=1))
        held_until(rabbit, PROVISIONING, Held("quorum", 1, 0))
        rabbit.freeze()
        at_once(lambda: [courier.server(UUID(int=number)) for number in range(2 * MOST_PENDING)])
        rabbit.thaw()
        used_again(courier, rabbit)


def at_once(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(AT_ONCE_S)
    assert not thread.is_alive(), "a caller waits for the broker"


def used_again(courier: Courier, rabbit: RabbitMQ) -> None:
    """Of the nudges that are sent from now on one arrives: the first may still meet a connection that is dead, or be one too
    many of those that wait."""

    def arrived() -> bool:
        courier.capacity()
        with suppress(*BROKER_AWAY, InternalError):  # its queues come back some moments after it
            return "reconcile_capacity" in rabbit.tasks(PROVISIONING)
        return False

    eventually(arrived)


def eventually(true: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(SOON_S * 20):
        if true():
            return
        pause.wait(0.05)
    raise AssertionError("never")
