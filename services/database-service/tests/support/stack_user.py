"""Who uses a deployed stack over HTTP: an operator of database-service, and a customer of instance-service."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

HELD_S = 20
PATIENCE_S = 240
OVER = ("succeeded", "failed", "cancelled")

Told = dict[str, Any]


@dataclass(frozen=True)
class StackUser:
    databases: httpx.Client
    instances: httpx.Client

    def pools(self) -> list[Told]:
        found: list[Told] = _good(self.databases.get("/admin/pools")).json()["pools"]
        return found

    def operate(self, path: str, **body: object) -> Told:
        told: Told = _good(self.databases.post(path, json=body)).json()
        return told

    def done(self, operation: Told) -> Told:
        """The operation once it is over."""
        deadline = time.monotonic() + PATIENCE_S
        while operation["state"] not in OVER:
            assert time.monotonic() < deadline, operation
            operation = _good(self.databases.get(f"/operations/{operation['id']}", params={"wait": HELD_S})).json()
        return operation

    def create(self, name: str, plan_tier: str = "starter") -> str:
        """The id of a new instance of the example."""
        body = {"name": name, "customer_id": "acme", "plan_tier": plan_tier}
        return str(_good(self.instances.post("/instances", json=body)).json()["id"])

    def ask(self, instance_id: str, verb: str) -> None:
        _good(self.instances.post(f"/instances/{instance_id}/{verb}"))

    def delete(self, instance_id: str) -> None:
        """Return when it is deleted."""
        _good(self.instances.delete(f"/instances/{instance_id}"))
        self._until(instance_id, lambda found: found["status"] == "deleted")

    def until_running(self, instance_id: str, *, unlike: object = None) -> Told:
        """The instance once it runs, with another database address or login than `unlike`."""
        return self._until(instance_id, lambda found: found["status"] == "running" and found["database"] != unlike)

    def _until(self, instance_id: str, so: Callable[[Told], bool]) -> Told:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found: Told = _good(self.instances.get(f"/instances/{instance_id}", params={"wait": HELD_S})).json()
            if so(found):
                return found
            assert found["status"] != "error", found
            assert time.monotonic() < deadline, found
            time.sleep(0.5)

    def trace(self, instance_id: str) -> list[str]:
        """Its states in their order, each once in a row."""
        events = _good(self.instances.get(f"/instances/{instance_id}/events", params={"limit": 200})).json()["events"]
        states = [event["after"] for event in reversed(events) if event["after"]]
        return [state for before, state in zip([None, *states], states, strict=False) if state != before]


@contextmanager
def stack_user(host: str, secrets: Path) -> Iterator[StackUser]:
    """`secrets` is the folder with the tokens that the stack's commands made."""

    def client(base: str, token: str) -> httpx.Client:
        bearer = {"Authorization": f"Bearer {(secrets / token).read_text().strip()}"}
        return httpx.Client(base_url=base, headers=bearer, timeout=HELD_S + 20)

    with (
        client(f"http://{host}:8005/api/database", "admin_token") as databases,
        client(f"http://{host}:8006/api", "instances_token") as instances,
    ):
        yield StackUser(databases, instances)


def _good(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, answer.text
    return answer
