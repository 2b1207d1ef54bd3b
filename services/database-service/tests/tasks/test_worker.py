"""A worker as it is started: a message of a name, and the row is settled."""

import asyncio
import signal
import subprocess

from database_service.broker.celery import new_sender
from database_service.domain.servers import Status
from support.broker import Broker
from support.house import House

SOON_S = 60


async def test_a_sweep_settles_a_pool_and_the_worker_ends_when_it_is_told_to(
    house: House, valkey: Broker, worker: "subprocess.Popen[bytes]"
) -> None:
    server_id = await house.ordered()
    beat = new_sender(valkey.url)
    async with asyncio.timeout(SOON_S):
        while (await house.server(server_id)).status is not Status.ACTIVE:
            assert worker.poll() is None, "it ended"
            beat.send_task("sweep_servers")
            await asyncio.sleep(0.1)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(SOON_S) == 0
