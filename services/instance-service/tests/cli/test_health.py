"""The container's health check: what makes it complain, and what must not."""

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from instance_service.cli import health
from instance_service.observability import alive
from support.broker import Broker
from support.cluster import free_port

NOW = 1_800_000_000.0


@pytest.fixture
def broker_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INSTANCES_BROKER_URL", f"redis+socket://{tmp_path}/none")


@pytest.fixture
def broker_there(monkeypatch: pytest.MonkeyPatch, valkey: Broker) -> None:
    monkeypatch.setenv("INSTANCES_BROKER_URL", valkey.url)


def signed(folder: Path, role: str, age_s: float) -> None:
    alive.sign(folder, role)
    os.utime(folder / role, (NOW - age_s, NOW - age_s))


@pytest.fixture
def api_that_says(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of one that answers its health endpoint with this status, and nothing else."""

    class Door(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param if self.path == "/api/instances/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with http.server.HTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_what_has_not_started_is_not_well(tmp_path: Path) -> None:
    assert health.complaint(tmp_path, NOW) == "nothing has started yet"


@pytest.mark.parametrize("api_that_says", [200], indirect=True)
def test_an_api_that_answers_is_well(tmp_path: Path, api_that_says: int) -> None:
    alive.listening(tmp_path, api_that_says)
    assert health.complaint(tmp_path, NOW) is None


@pytest.mark.parametrize("api_that_says", [500], indirect=True)
def test_an_api_that_fails_is_not_well(tmp_path: Path, api_that_says: int) -> None:
    alive.listening(tmp_path, api_that_says)
    assert health.complaint(tmp_path, NOW) == "the API says 500"


def test_an_api_that_does_not_answer_is_not_well(tmp_path: Path) -> None:
    alive.listening(tmp_path, free_port())
    assert "does not answer" in str(health.complaint(tmp_path, NOW))


@pytest.mark.parametrize("role", [alive.WORKER, alive.BEAT])
@pytest.mark.usefixtures("broker_there")
def test_a_fresh_sign_of_life_is_enough_and_a_stale_one_is_not(tmp_path: Path, role: str) -> None:
    signed(tmp_path, role, health.STALE_S - 1)
    assert health.complaint(tmp_path, NOW) is None
    signed(tmp_path, role, health.STALE_S + 1)
    assert str(health.complaint(tmp_path, NOW)).startswith(f"the {role} has given no sign of life for 61 s")


@pytest.mark.usefixtures("broker_away")
def test_a_worker_that_waits_for_its_broker_is_not_restarted_for_it(tmp_path: Path) -> None:
    signed(tmp_path, alive.WORKER, 3600)
    assert health.complaint(tmp_path, NOW) is None


def test_as_a_command_it_fails_with_the_complaint(tmp_path: Path) -> None:
    check = [sys.executable, "-m", "instance_service.cli.health", str(tmp_path)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "nothing has started yet\n")


def test_without_a_folder_no_sign_is_left() -> None:
    alive.sign(None, alive.WORKER)
    alive.listening(None, 1)
