"""The service as its processes, beside a database-service that runs as a user starts it."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from instance_service.workloads.process import ProcessWorkloads
from support.cluster import free_port

ROLES = ("api", "worker", "beat")
PATH = "/api/instances"
START_S = 60
SETTLE_S = 240
STOP_S = 20
HELD_S = 10

Told = dict[str, Any]


@dataclass
class System:
    """`folder` holds its token, its workloads and what its processes print."""

    folder: Path
    port: int
    environment: Mapping[str, str]
    processes: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    def begin(self, *roles: str) -> None:
        for role in roles or ROLES:
            with (self.folder / f"{role}.log").open("ab") as output:
                self.processes[role] = subprocess.Popen(
                    [sys.executable, "-m", "instance_service", "serve", role],
                    stdout=output, stderr=subprocess.STDOUT, cwd=self.folder, env=dict(self.environment),
                    start_new_session=True,
                )  # fmt: skip

    def kill(self, role: str) -> None:
        """As a machine without power would."""
        process = self.processes.pop(role)
        process.kill()
        process.wait(STOP_S)

    def end(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S)
        self.processes.clear()

    def logs(self) -> str:
        return "\n".join(f"-- {path.name}\n{path.read_text()[-6000:]}" for path in sorted(self.folder.glob("*.log")))

    @property
    def token(self) -> str:
        return (self.folder / "token").read_text()

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self.token}"}, timeout=40,
        )  # fmt: skip

    def until_ready(self) -> None:
        """Return when the API has its own database."""
        deadline = time.monotonic() + START_S
        with self.client() as client:
            while not _is_ready(client):
                assert time.monotonic() < deadline, self.logs()
                time.sleep(0.1)

    def create(self, name: str, **more: object) -> Told:
        """Ask for an instance; the API must accept it."""
        body = {"name": name, "customer_id": "c-1", "plan_tier": "free"} | more
        with self.client() as client:
            answer = client.post(PATH, json=body)
        assert answer.status_code == 202, answer.text
        told: Told = answer.json()
        return told

    def ask(self, instance_id: str, verb: str, **body: object) -> None:
        """POST what is wanted of it; the API must accept it."""
        with self.client() as client:
            answer = client.post(f"{PATH}/{instance_id}/{verb}", json=body or None)
        assert answer.status_code == 202, answer.text

    def until(self, instance_id: str, *statuses: str, patience_s: float = SETTLE_S) -> Told:
        deadline = time.monotonic() + patience_s
        with self.client() as client:
            while True:
                found: Told = client.get(f"{PATH}/{instance_id}", params={"wait": HELD_S}).json()
                if found["status"] in statuses:
                    return found
                assert time.monotonic() < deadline, f"{found}\n{self.logs()}"
                time.sleep(0.1)

    def trace(self, instance_id: str) -> list[str]:
        """Its states in their order, each once in a row."""
        with self.client() as client:
            events = client.get(f"{PATH}/{instance_id}/events", params={"limit": 200}).json()["events"]
        states = [event["after"] for event in reversed(events)]
        return [state for before, state in zip([None, *states], states, strict=False) if state != before]


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get(f"{PATH}/health/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@contextmanager
def running_beside(url: str, token: str, broker: str, folder: Path, **settings: str) -> Iterator[System]:
    """All its processes, with a token of their own; they and their workloads are ended afterwards.

    What they are given are files in `folder`: nothing of theirs names the DATA_DIR of the system beside them.
    """
    given = {"token": secrets.token_urlsafe(32), "database-service.token": token, "broker-url": broker}
    for name, text in given.items():
        (folder / name).write_text(text)
    port = free_port()
    named = {
        "DATABASE_SERVICE_URL": url,
        "DATABASE_SERVICE_TOKEN_FILE": str(folder / "database-service.token"),
        "INSTANCES_TOKEN_FILE": str(folder / "token"),
        "INSTANCES_BROKER_URL_FILE": str(folder / "broker-url"),
        "INSTANCES_API_PORT": str(port),
        "INSTANCES_DATA_DIR": str(folder / "workloads"),
        "INSTANCES_HEALTH_INTERVAL_S": "2",
        "INSTANCES_ERROR_RECHECK_S": "5",
        "INSTANCES_SWEEP_INTERVAL_S": "1",
    }
    ours = ("INSTANCES_", "DATABASE_")
    told = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    system = System(folder, port, told | named | settings)
    try:
        system.begin()
        yield system
    finally:
        system.end()
        asyncio.run(ProcessWorkloads(folder / "workloads").halt_all())
