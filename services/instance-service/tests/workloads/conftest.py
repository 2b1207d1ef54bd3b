"""`bench`: each way to run workloads in turn."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from instance_service.domain.workloads import Address
from instance_service.workloads.description import Options
from instance_service.workloads.engine import Engine
from instance_service.workloads.interpreter import Interpreter
from instance_service.workloads.process import PORTS, Account, ProcessWorkloads
from instance_service.workloads.swarm import SwarmWorkloads
from instance_support.telling import Bench
from support import stack_images
from support.folders import open_folder
from support.swarm_lab import Lab


def fetched(address: Address) -> str:
    return httpx.get(f"http://{address.host}:{address.port}/").raise_for_status().text


@pytest.fixture
def processes(folder: Path) -> Iterator[ProcessWorkloads]:
    """Workloads in a folder that every account may enter; all are ended afterwards."""
    workloads = ProcessWorkloads(folder / "workloads")
    yield workloads
    asyncio.run(workloads.halt_all())


@pytest.fixture(scope="session")
def python() -> Iterator[str]:
    """A Python that every account can run."""
    with open_folder() as folder:
        uid = Account.of(PORTS.start).uid
        yield str(Interpreter.for_account(uid, folder).program)


@pytest.fixture
def local(processes: ProcessWorkloads, python: str) -> Bench:
    return Bench(processes, python, None, fetched)


NETWORK, ASKER = "tenants", "asker"
ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


@pytest.fixture
def swarm(healthy_swarm: Lab) -> Bench:
    """Services of the lab's Swarm, in an image that is any Debian with Python, asked by somebody on their network."""
    manager = healthy_swarm.manager
    stack_images.load_base(manager)
    manager.docker("network", "create", "--driver", "overlay", "--attachable", NETWORK)
    manager.docker(
        "run", "--detach", "--init", "--network", NETWORK, "--name", ASKER, stack_images.BASE, "sleep", "600"
    )

    def fetch(address: Address) -> str:
        return manager.docker("exec", ASKER, "python3", "-c", ASK, f"http://{address.host}:{address.port}/")

    options = Options("plane", NETWORK, stack_images.BASE)
    return Bench(SwarmWorkloads(Engine.at(manager.url), options), "python3", stack_images.BASE, fetch)


@pytest.fixture(params=["process", pytest.param("swarm", marks=[pytest.mark.docker, pytest.mark.timeout(600)])])
def bench(request: pytest.FixtureRequest) -> Bench:
    made: Bench = request.getfixturevalue({"process": "local", "swarm": "swarm"}[request.param])
    return made
