"""`bench`: each way to run workloads in turn."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from instance_service.domain.workloads import Address
from instance_service.workloads.interpreter import Interpreter
from instance_service.workloads.process import PORTS, Account, ProcessWorkloads
from instance_support.telling import Bench
from support.folders import open_folder


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


@pytest.fixture(params=["process"])
def bench(request: pytest.FixtureRequest) -> Bench:
    made: Bench = request.getfixturevalue({"process": "local"}[request.param])
    return made
