"""The walk: every operation of the contract, asked with every kind of token, answers as the manual's table says."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import APIRoute

from database_service.api.app import routes
from database_service.api.authorisation import Answer, Entry, entries
from database_service.auth.scopes import ALL, OF_CONSUMERS, Scope
from database_service.auth.tokens import new_token
from database_service.reconcilers.certifying import add_authority
from support.house import House
from support.pages import DOCS
from support.secrets import rows_of
from support.web import Web, open_web

Headers = Mapping[str, str]

OPEN = {"/api/database/health", "/api/database/health/ready", "/api/database/ca.pem"}
OUTSIDE_THE_CONTRACT = {"/api/database/openapi.json", "/api/database/docs"}
"""The contract itself."""

THEIRS, STRANGER = "c-1", "c-2"
BODIES: Mapping[str, object] = {
    "/api/database/allocate": {"instance_id": "mine", "customer_id": THEIRS, "plan_tier": "free"},
    "/api/database/provision-dedicated": {"instance_id": "other", "customer_id": THEIRS, "plan_tier": "premium"},
    "/api/database/databases/{instance_id}/protection": {"protected": False},
    "/api/database/databases/{instance_id}/change-plan": {"plan_tier": "standard", "dry_run": True},
    "/api/database/admin/databases/{instance_id}/move": {"dry_run": True},
    "/api/database/admin/tokens": {"name": "n", "scopes": ["admin:write"]},
    "/api/database/admin/pools/adopt": {
        "host": "127.0.0.1", "port": 1, "user": "u", "password": "p", "max_instances": 1,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Walk:
    """A customer's database and a finished operation on it, and who comes to ask for them."""

    web: Web
    operation_id: str
    refused: Mapping[str, Headers]
    """Tokens that are none (any more), or not written as one."""
    single: Mapping[Scope, Headers]
    everything: Headers
    of_this_customer: Headers
    of_another_customer: Headers

    def expected(self, entry: Entry) -> Mapping[str, tuple[Headers, Answer]]:
        """What the table says of each kind of token."""
        scopes = {
            f"the scope {scope}": (headers, entry.with_scope if entry.scope in (None, scope) else entry.without_scope)
            for scope, headers in self.single.items()
        }
        return (
            {name: (headers, entry.without_token) for name, headers in self.refused.items()}
            | scopes
            | {
                "every scope": (self.everything, entry.with_scope),
                "bound to this customer": (self.of_this_customer, entry.of_this_customer),
                "bound to another": (self.of_another_customer, entry.of_another_customer),
            }
        )

    async def ask(self, entry: Entry, headers: Headers, instance: str = "mine") -> httpx.Response:
        path = entry.path.format(
            instance_id=instance, operation_id=self.operation_id, pool_id=uuid4(), token_id=uuid4(), drift_id=uuid4()
        )
        body = BODIES.get(entry.path) if entry.method == "POST" else None
        return await self.web.client.request(entry.method, f"http://test{path}", json=body, headers=headers)


@pytest.fixture
async def walk(house: House) -> AsyncIterator[Walk]:
    await house.pool()
    await house.spares(2)
    async with house.deps.db.transaction() as conn:
        await add_authority(conn, house.deps, (), timedelta())
    async with open_web(house) as web:
        await web.allocate("mine", customer_id=THEIRS)
        changed = await web.client.post("/databases/mine/change-plan", json={"plan_tier": "starter"})
        revoked, was_good = await web.token()
        await web.client.delete(f"/admin/tokens/{revoked.id}")
        _, expires = await web.token(expires_at=house.clock() + timedelta(hours=1))
        house.clock.forward(timedelta(hours=2))
        yield Walk(
            web=web,
            operation_id=changed.json()["id"],
            refused={
                "no token": {"Authorization": ""},
                "another scheme": {"Authorization": "Basic dTpw"},
                "no text": {"Authorization": "Bearer "},
                "too long a text": {"Authorization": f"Bearer {'x' * 201}"},
                "an unknown token": {"Authorization": f"Bearer {new_token().reveal()}"},
                "an expired token": expires,
                "a revoked token": was_good,
            },
            single={scope: (await web.token({scope}))[1] for scope in Scope},
            everything=(await web.token(ALL))[1],
            of_this_customer=(await web.token(OF_CONSUMERS, customer=THEIRS))[1],
            of_another_customer=(await web.token(OF_CONSUMERS, customer=STRANGER))[1],
        )


def answered(entry: Entry, answer: httpx.Response) -> Answer:
    """An instance or an operation that is there is only ever not found by a stranger."""
    if answer.status_code in (401, 403):
        return Answer(str(answer.status_code))
    if answer.status_code == 404 and not entry.path.startswith("/api/database/admin/"):
        return Answer.NOT_FOUND
    return Answer.LET_IN


def test_every_route_is_in_the_contract_and_only_health_and_the_authority_are_open(web: Web) -> None:
    served = {route.path for route in web.app.routes if isinstance(route, APIRoute)}
    assert served - {route.path for route in routes()} == OUTSIDE_THE_CONTRACT
    assert {entry.path for entry in entries(routes()) if entry.scope is None} == OPEN


async def test_every_operation_answers_every_kind_of_token_as_the_table_says(
    walk: Walk, record_property: Callable[[str, object], None]
) -> None:
    table = (DOCS / "reference" / "authorisation.md").read_text()
    asked = 0
    for wanted in (False, True):  # refusals first: they must change nothing
        before = await _state(walk)
        for entry in entries(routes()):
            assert f"| `{entry.method} {entry.path}` | {f'`{entry.scope}`' if entry.scope else 'open'} |" in table
            for name, (headers, expected) in walk.expected(entry).items():
                if (expected in (Answer.LET_IN, Answer.OWN_ALONE)) is not wanted:
                    continue
                asked += 1
                answer = await walk.ask(entry, headers)
                told = f"{entry.method} {entry.path} with {name}: {answer.status_code} {answer.text[:200]}"
                assert answered(entry, answer) is (Answer.LET_IN if wanted else expected), told
                if expected is Answer.OWN_ALONE:
                    assert bool(answer.json()["operations"]) is (headers is walk.of_this_customer), told
        assert wanted or await _state(walk) == before
    record_property("authorisation", f"{asked} pairs of an operation and a token, each as the table says")


async def _state(walk: Walk) -> Mapping[str, str]:
    """All but the log of what was asked, which has its refusals too."""
    async with walk.web.house.deps.db.connection() as conn:
        return {table: rows for table, rows in (await rows_of(conn)).items() if table != "requests"}


async def test_what_is_anothers_is_told_in_the_words_for_what_is_not_there(walk: Walk) -> None:
    for entry in entries(routes()):
        if entry.of_another_customer is Answer.NOT_FOUND and "{instance_id}" in entry.path:
            theirs = await walk.ask(entry, walk.of_another_customer)
            nobodys = await walk.ask(entry, walk.of_another_customer, instance="nobodys")
            assert _told(theirs) == _told(nobodys) == {**_told(nobodys), "code": "database_not_found"}


def _told(answer: httpx.Response) -> Mapping[str, object]:
    told: dict[str, object] = json.loads(answer.text.replace("nobodys", "mine"))
    return told | {"request_id": "", "status": answer.status_code, "headers": sorted(answer.headers)}
