"""A worker as it is started: a message of a name, and the row is settled."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from database_service.broker.celery import new_sender
from database_service.domain.ids import ServerId
from database_service.domain.servers import Address, Status
from database_service.reconcilers.ordering import Order, place
from support.broker import Broker
from support.house import WHO, House
from support.secrets import KNOWN

SOON_S = 60


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "worker.log"


@pytest.fixture
def worker(worker_environment: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "database_service", "serve", "worker"],
            env=dict(os.environ) | worker_environment, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent,
        )  # fmt: skip
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()
    said = log.read_text()
    KNOWN.refuse(said, "the worker's log")
    assert "Traceback" not in said, said


async def test_a_sweep_settles_a_pool_and_the_worker_ends_when_it_is_told_to(
    house: House, valkey: Broker, worker: "subprocess.Popen[bytes]"
) -> None:
    server_id = await _ordered(house)
    beat = new_sender(valkey.url)
    async with asyncio.timeout(SOON_S):
        while (await house.server(server_id)).status is not Status.ACTIVE:
            assert worker.poll() is None, "it ended"
            beat.send_task("sweep_servers")
            await asyncio.sleep(0.1)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(SOON_S) == 0


async def _ordered(house: House) -> ServerId:
    tenant = house.tenant
    order = Order(
        max_instances=3, provisioner="external", address=Address(tenant.host, tenant.port),
        admin_user=tenant.superuser, admin_password=tenant.password,
    )  # fmt: skip
    async with house.deps.db.transaction() as conn:
        server = await place(conn, house.deps, WHO, order, None)
    assert server
    return server.id
