"""`worker_environment`: settings as a worker reads them. `worker_loop`: the loop of its tasks, over its own database.
`new_worker` starts a worker as it is started everywhere, and `worker` is one. `broker_url` says beside which broker."""

import base64
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from database_service.tasks import handlers
from database_service.tasks.loop import Loop
from support.broker import Broker
from support.secrets import KNOWN

Process = subprocess.Popen[bytes]

HOUSE_KEY = "test:" + base64.urlsafe_b64encode(b"k" * 32).decode()
"""That of support.house, so that a house and a worker share a control database."""


@pytest.fixture
def broker_url(valkey: Broker) -> str:
    return valkey.url


@pytest.fixture
def worker_environment(control_dsn: str, folder: Path, broker_url: str) -> dict[str, str]:
    """Secrets in files, as everywhere."""
    files = {"DATABASE_URL": control_dsn, "SECRET_KEYS": HOUSE_KEY, "CELERY_BROKER_URL": broker_url}
    for name, text in files.items():
        (folder / name).write_text(text)
    return {f"{name}_FILE": str(folder / name) for name in files} | {"DATA_DIR": str(folder / "data")}


@pytest.fixture
def worker_loop(worker_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    for name, value in worker_environment.items():
        monkeypatch.setenv(name, value)
    loop = Loop()
    monkeypatch.setattr(handlers, "loop", loop)
    yield loop
    loop.close()


@pytest.fixture
def new_worker(worker_environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[[], Process]]:
    """What a worker says must be in order, however it ended."""
    with ExitStack() as workers:
        yield lambda: workers.enter_context(_running_worker(worker_environment, tmp_path / "worker.log"))


@pytest.fixture
def worker(new_worker: Callable[[], Process]) -> Process:
    return new_worker()


@contextmanager
def _running_worker(environment: dict[str, str], log: Path) -> Iterator[Process]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "database_service", "serve", "worker"],
            env=dict(os.environ) | environment, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
    said = log.read_text()
    KNOWN.refuse(said, "the worker's log")
    assert "Traceback" not in said, said
