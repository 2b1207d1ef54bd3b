"""The whole flow as a user meets it: database-service started by `dbs up`, instance-service beside it, real workloads."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from e2e.conftest import READY, Stack, running
from instance_support.system import System, running_beside
from support.cluster import free_port
from support.folders import open_folder

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

SMALL_POOLS = {"DB_POOL_MAX_INSTANCES": "10", "DB_POOL_MEMORY_LIMIT": "128M", "SPARES_LEAST": "0", "SPARES_MOST": "0"}


@contextmanager
def both(folder: Path, **settings: str) -> Iterator[tuple[Stack, System]]:
    """One pool of ten to start with, and nothing in stock."""
    place = folder / "instances"
    place.mkdir(mode=0o755)
    with running(folder / "data", free_port(), folder) as stack:
        stack.until(READY)
        broker = next(stack.data.glob("**/broker-url")).read_text().strip() + "?virtual_host=1"
        with running_beside(stack.url, stack.data / "admin.token", broker, place, **settings) as system:
            system.until_ready()
            yield stack, system


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Stack, System]]:
    with pytest.MonkeyPatch.context() as patch, open_folder() as folder:
        for name, value in SMALL_POOLS.items():
            patch.setenv(name, value)
        with both(folder) as begun:
            yield begun


def test_an_instance_runs_and_is_usable(pair: tuple[Stack, System]) -> None:
    _, system = pair
    made = system.create("first")
    running = system.until(made["id"], "running", "error")
    assert running["status"] == "running", system.logs()
    assert httpx.get(f"{running['url']}/healthz").status_code == httpx.codes.OK
