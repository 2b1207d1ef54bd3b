"""`worker_environment`: settings as a worker reads them. `worker_loop`: the loop of its tasks, over its own database."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from database_service.tasks import handlers
from database_service.tasks.loop import Loop
from support.broker import Broker

HOUSE_KEY = "test:" + base64.urlsafe_b64encode(b"k" * 32).decode()
"""That of support.house, so that a house and a worker share a control database."""


@pytest.fixture
def worker_environment(control_dsn: str, folder: Path, valkey: Broker) -> dict[str, str]:
    """Secrets in files, as everywhere."""
    files = {"DATABASE_URL": control_dsn, "SECRET_KEYS": HOUSE_KEY, "CELERY_BROKER_URL": valkey.url}
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
