"""Worker and beat leave signs of life, and stop when they hang."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.broker import Broker

SOON_S = 60


@contextmanager
def serving(role: str, environment: dict[str, str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "database_service", "serve", role],
            env={**os.environ, **environment, "ALIVE_DIR": str(folder)},
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def until(true: Callable[[], bool], process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + SOON_S
    while not true():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.05)


def renewed_twice(sign: Path) -> Callable[[], bool]:
    """The first one is left before there is anything that could hang."""
    seen: set[int] = set()

    def look() -> bool:
        if sign.exists():
            seen.add(sign.stat().st_mtime_ns)
        return len(seen) > 2

    return look


def test_a_worker_gives_signs_of_life_again_after_its_broker_was_away(
    worker_environment: dict[str, str], valkey: Broker, tmp_path: Path
) -> None:
    with serving("worker", worker_environment, tmp_path) as worker:
        until(renewed_twice(tmp_path / "worker"), worker, tmp_path)
        valkey.kill()
        valkey.start()
        until(renewed_twice(tmp_path / "worker"), worker, tmp_path)


@pytest.mark.usefixtures("valkey")
def test_beat_gives_signs_of_life_and_needs_no_secret_but_its_broker(
    worker_environment: dict[str, str], tmp_path: Path
) -> None:
    its_own = {name: value for name, value in worker_environment.items() if "BROKER" in name}
    with serving("beat", {**its_own, "ENVIRONMENT": "production"}, tmp_path) as beat:
        until(renewed_twice(tmp_path / "beat"), beat, tmp_path)


def test_a_server_that_never_gets_its_schema_ends_with_a_sentence(
    worker_environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("postgresql://nobody:none@127.0.0.1:1/none")
    environment = {**worker_environment, "DATABASE_URL_FILE": str(tmp_path / "url"), "AWAIT_SCHEMA_S": "0.1"}
    with serving("worker", environment, tmp_path) as worker:
        assert worker.wait(SOON_S) == 1
    assert "run `dbs migrate`" in (tmp_path / "log").read_text()
