"""Every endpoint of the contract has its verb, and the verb can say all that the endpoint understands."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from database_service_client import DatabaseService, Retries
from database_service_client.errors import DatabaseServiceError

CONTRACT = json.loads((Path(__file__).parents[3] / "docs" / "reference" / "openapi.json").read_text())
ID = UUID("00000000-0000-4000-8000-000000000001")
NOW = datetime(2030, 1, 1, tzinfo=UTC)
ASK = ("i", "c", "free")
POOL: dict[str, Any] = {"max_instances": 1, "cpu_limit": 1.0, "memory_limit": 1}
PAGE: dict[str, Any] = {"cursor": "c", "limit": 1}

Verb = Callable[[DatabaseService], object]
CALLS: dict[str, Verb] = {
    "POST /allocate": lambda c: c.allocate(*ASK, require_dedicated=True, database_name="n", template="t"),
    "POST /provision-dedicated": lambda c: c.provision_dedicated(*ASK),
    "GET /databases/{instance_id}": lambda c: c.status("i", wait=1, while_on=ID),
    "DELETE /databases/{instance_id}": lambda c: c.release("i", why="w"),
    "GET /databases/{instance_id}/credentials": lambda c: c.credentials("i"),
    "POST /databases/{instance_id}/rotate": lambda c: c.rotate("i", overlap_seconds=1),
    "POST /databases/{instance_id}/undelete": lambda c: c.undelete("i"),
    "POST /databases/{instance_id}/protection": lambda c: c.protect("i"),
    "POST /databases/{instance_id}/change-plan": lambda c: c.change_plan("i", "free", require_dedicated=True),
    "GET /operations": lambda c: c.operations.page(state="failed", **PAGE),
    "GET /operations/{operation_id}": lambda c: c.operations.wait(ID),
    "POST /operations/{operation_id}/cancel": lambda c: c.operations.cancel(ID),
    "POST /operations/{operation_id}/pause": lambda c: c.operations.pause(ID),
    "POST /operations/{operation_id}/resume": lambda c: c.operations.resume(ID),
    "POST /operations/{operation_id}/retry": lambda c: c.operations.retry(ID),
    "POST /operations/{operation_id}/rollback": lambda c: c.operations.rollback(ID),
    "GET /admin/pools": lambda c: c.admin.pools(status="full", server_type="shared", **PAGE),
    "POST /admin/pools": lambda c: c.admin.order_pool(**POOL, priority=1, manual=True),
    "POST /admin/pools/adopt": lambda c: c.admin.adopt("h", "u", "p", 1, confirm="c", port=1, name="n"),
    "POST /admin/pools/rollout": lambda c: c.admin.rollout(**POOL, pools=[ID], image="i", tls=True),
    "POST /admin/pools/rotate-admin-password": lambda c: c.admin.rotate_admin_password(pools=[ID]),
    "POST /admin/pools/rebalance": lambda c: c.admin.rebalance(most=1),
    "GET /admin/pools/{pool_id}": lambda c: c.admin.pool(ID),
    "POST /admin/pools/{pool_id}/health-check": lambda c: c.admin.health_check(ID),
    "POST /admin/pools/{pool_id}/cordon": lambda c: c.admin.cordon(ID, reason="r"),
    "POST /admin/pools/{pool_id}/uncordon": lambda c: c.admin.uncordon(ID),
    "POST /admin/pools/{pool_id}/retire": lambda c: c.admin.retire(ID),
    "POST /admin/pools/{pool_id}/drain": lambda c: c.admin.drain(ID),
    "POST /admin/databases/{instance_id}/move": lambda c: c.admin.move("i", pool_id=ID),
    "GET /admin/drift": lambda c: c.admin.drift(kind="k", state="open", **PAGE),
    "POST /admin/drift/find": lambda c: c.admin.find_drift(),
    "POST /admin/drift/{drift_id}/remove": lambda c: c.admin.remove_drift(ID, confirm="c"),
    "GET /admin/neighbours": lambda c: c.admin.neighbours(pool_id=ID, limit=1),
    "GET /admin/pools/{pool_id}/history": lambda c: c.admin.pool_history(ID, by="day"),
    "GET /admin/databases/{instance_id}/history": lambda c: c.admin.database_history("i"),
    "GET /admin/stats": lambda c: c.admin.stats(),
    "GET /admin/events": lambda c: c.admin.events(instance_id="i", subject_id=ID, **PAGE),
    "GET /admin/events/verification": lambda c: c.admin.verify_events(since="1:ab"),
    "GET /admin/requests": lambda c: c.admin.requests(
        since=NOW,
        until=NOW,
        endpoint="e",
        status=200,
        errors=False,
        token_id=ID,
        instance_id="i",
        request_id="r",
        **PAGE,
    ),
    "GET /admin/keys": lambda c: c.admin.keys(),
    "POST /admin/keys/reseal": lambda c: c.admin.reseal(),
    "GET /ca.pem": lambda c: c.ca(),
    "GET /admin/authorities": lambda c: c.admin.authorities(),
    "POST /admin/authorities/rotate": lambda c: c.admin.rotate_authority(overlap_seconds=1),
    "GET /admin/tokens": lambda c: c.admin.tokens(),
    "POST /admin/tokens": lambda c: c.admin.issue_token("n", ["admin:read"], expires_at=NOW, customer_id="c"),
    "DELETE /admin/tokens/{token_id}": lambda c: c.admin.revoke_token(ID),
    "GET /health": lambda c: c.health(),
    "GET /health/ready": lambda c: c.ready(),
    "GET /metrics": lambda c: c.metrics(),
}
"""Each with all it can be told."""

LEFT_OUT = {"GET /databases/{instance_id}/credentials": {"format"}}
"""Credentials know their forms themselves."""


def contract() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in CONTRACT["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path.removeprefix('/api/database')}", operation


def first_request(verb: Verb) -> httpx.Request:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(400)

    transport = httpx.MockTransport(answer)
    with (
        DatabaseService("http://x", "t", transport=transport, retries=Retries(most=0)) as client,
        contextlib.suppress(DatabaseServiceError),
    ):
        verb(client)
    return asked[0]


def fields_of_body(operation: dict[str, Any]) -> set[str]:
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        schema = CONTRACT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return set(schema.get("properties", {}))


def parameters(operation: dict[str, Any], where: str) -> set[str]:
    return {each["name"].lower() for each in operation.get("parameters", []) if each["in"] == where}


def test_every_endpoint_has_a_verb_and_every_verb_an_endpoint() -> None:
    there = {name for name, _ in contract()}
    assert set(CALLS) == there


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_verb_asks_its_endpoint(name: str) -> None:
    method, path = name.split()
    asked = first_request(CALLS[name])
    assert asked.method == method
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", f"/api/database{path}"), asked.url.path)
    assert asked.headers["authorization"] == "Bearer t"


@pytest.mark.parametrize(("name", "operation"), [pytest.param(*each, id=each[0]) for each in contract()])
def test_a_verb_can_say_all_that_its_endpoint_understands(name: str, operation: dict[str, Any]) -> None:
    asked = first_request(CALLS[name])
    left_out = LEFT_OUT.get(name, set())
    assert set(json.loads(asked.content or b"{}")) == fields_of_body(operation)
    assert set(asked.url.params) == parameters(operation, "query") - left_out
    for header in ("prefer", "idempotency-key"):
        assert (header in asked.headers) == (header in parameters(operation, "header")), header
