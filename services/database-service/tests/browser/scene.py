"""A system that people have worked with for a while: what the pages show while they are looked at."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from database_service.cli.client import Client
from e2e.conftest import READY, Stack
from support.secrets import KNOWN

SETTINGS: Mapping[str, str] = {
    "DB_POOL_MAX_INSTANCES": "24",
    "HEALTH_INTERVAL_S": "3",
    "BACKOFF_FIRST_S": "1.5",  # an ill server is looked at again after two of these, and is red for as long
    "USAGE_INTERVAL_S": "3",
    "SPARES_LEAST": "3",
    "DRIFT_GRACE_S": "0.1",
}
"""A pool that is killed is found out within seconds, and shown as ill for long enough to be seen."""

POOLS = 3
TENANTS = (
    ("shop-berlin", "acme", "starter"),
    ("shop-lyon", "acme", "standard"),
    ("wiki", "globex", "free"),
    ("crm", "globex", "professional"),
    ("tickets", "initech", "starter"),
    ("blog-old", "initech", "free"),
)
VIEWER = ("admin:read",)
PATIENCE_S = 90


@dataclass(frozen=True)
class Scene:
    """`url` is the API's. Places of pages name what there is by the names of these fields."""

    stack: Stack
    pool: str
    pool_name: str
    instance: str
    operation: str
    operator: str = field(repr=False)
    viewer: str = field(repr=False)
    """Tokens."""

    @property
    def url(self) -> str:
        return self.stack.url

    def place(self, path: str) -> str:
        """`/pools/{pool}` with the id of the pool in it."""
        return path.format(**vars(self))


def set_up(stack: Stack) -> Scene:
    """Tenants, one that moved, one with two logins, one that left; a token that may only look; and something left behind."""
    stack.until(READY)
    with stack.client() as client:
        for instance, customer, tier in TENANTS:
            wanted = {"instance_id": instance, "customer_id": customer, "plan_tier": tier}
            until(lambda wanted=wanted: client.post("/allocate", wanted, wait=10).ready, "allocated")  # type: ignore[misc]
        [*_, last] = client.get("/admin/pools").body["pools"]
        client.post(f"/admin/pools/{last['id']}/cordon", {"reason": "new disks on Tuesday"})
        client.post("/databases/shop-berlin/rotate", {})
        client.post("/databases/crm/protection", {"protected": True})
        client.delete("/databases/blog-old", reason="moved to the wiki")
        operation = client.post("/admin/databases/shop-berlin/move", {}).body["id"]
        leave_behind(stack, client)
        until(lambda: client.get(f"/operations/{operation}", wait=10).body["state"] == "succeeded", "moved")
        until(lambda: client.get("/databases/shop-berlin").body["usage"], "measured")
        [pool, *_] = client.get("/admin/pools").body["pools"]
        return Scene(
            stack=stack,
            pool=pool["id"],
            pool_name=pool["name"],
            instance="shop-berlin",
            operation=operation,
            operator=KNOWN.remember((stack.data / "admin.token").read_text().strip()),
            viewer=token(client, "on-call", VIEWER),
        )


def token(client: Client, name: str, scopes: tuple[str, ...]) -> str:
    return KNOWN.remember(client.post("/admin/tokens", {"name": name, "scopes": scopes}).body["token"])


def leave_behind(stack: Stack, client: Client) -> None:
    """The directory of a server that no row knows, found."""
    [known, *_] = client.get("/admin/pools").body["pools"]
    lost = stack.home_of(known["id"]).parent / str(uuid4())
    lost.mkdir()
    (lost / "identity.json").write_text(
        json.dumps({"format": 1, "id": lost.name, "name": "pool-lost", "port": 0, "made": False})
    )
    client.post("/admin/drift/find", {})
    until(lambda: client.get("/admin/drift").body["drift"], "found what was left behind")


def until(true: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)
