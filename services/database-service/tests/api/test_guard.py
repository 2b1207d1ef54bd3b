"""Who may do what: every endpoint, with every scope, with none, and with tokens that are no longer good."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest

from database_service.api.app import routes
from database_service.api.openapi import scope_of
from database_service.auth.scopes import ALL, Scope
from database_service.views.stats import stats
from support.web import Door, Web, open_web

OPEN = {"/api/database/health", "/api/database/health/ready"}
BODIES = {
    "/api/database/allocate": {"instance_id": "i", "customer_id": "c", "plan_tier": "free"},
    "/api/database/provision-dedicated": {"instance_id": "i", "customer_id": "c", "plan_tier": "premium"},
    "/api/database/databases/{instance_id}/protection": {"protected": True},
    "/api/database/admin/tokens": {"name": "n", "scopes": ["admin:write"]},
    "/api/database/admin/pools/adopt": {
        "host": "127.0.0.1", "port": 1, "user": "u", "password": "p", "max_instances": 1,
    },
}  # fmt: skip


def _endpoints() -> Iterator[tuple[str, str, Scope | None]]:
    for route in routes():
        for method in route.methods or ():
            yield method, route.path, scope_of(route)


GUARDED = [(method, path, scope) for method, path, scope in _endpoints() if scope]


async def _ask(web: Web, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    url = path.format(instance_id="nobody", pool_id=uuid4(), token_id=uuid4(), drift_id=uuid4(), operation_id=uuid4())
    body = BODIES.get(path) if method == "POST" else None
    answer = await web.client.request(method, f"http://test{url}", json=body, headers=headers)
    return answer.status_code, answer.json() if "json" in answer.headers.get("content-type", "") else {}


def test_only_health_is_open() -> None:
    assert {path for _, path, scope in _endpoints() if scope is None} == OPEN


@pytest.mark.parametrize(("method", "path", "scope"), GUARDED)
async def test_an_endpoint_opens_to_its_scope_and_to_nothing_else(
    web: Web, method: str, path: str, scope: Scope
) -> None:
    _, only = await web.token({scope})
    assert (await _ask(web, method, path, only))[0] not in {401, 403}
    _, others = await web.token(ALL - {scope})
    status, problem = await _ask(web, method, path, others)
    assert (status, problem["code"]) == (403, "forbidden")
    assert scope in problem["detail"]
    revoked, was_good = await web.token()
    await web.client.delete(f"/admin/tokens/{revoked.id}")
    _, expires = await web.token(expires_at=web.house.clock() + timedelta(hours=1))
    assert (await _ask(web, method, path, expires))[0] not in {401, 403}
    web.house.clock.forward(timedelta(hours=2))
    nothing = {"Authorization": ""}
    for headers in (nothing, was_good, expires, {"Authorization": "Basic dTpw"}, {"Authorization": "Bearer dbs_wrong"}):
        status, problem = await _ask(web, method, path, headers)
        assert (status, problem["code"]) == (401, "unauthenticated")


async def test_a_refusal_tells_the_scheme_and_changes_nothing(web: Web) -> None:
    _, reader = await web.token({Scope.DATABASES_READ})
    for headers in ({"Authorization": ""}, reader):
        wanted = BODIES["/api/database/allocate"]
        answer = await web.client.post("/allocate", json=wanted, headers=headers)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert (await stats(web.house.deps)).databases == {"ready": 0}


async def test_a_token_is_shown_once_and_stored_only_as_its_hash(web: Web) -> None:
    issued = await web.client.post("/admin/tokens", json={"name": "shop", "scopes": ["databases:read"]})
    text = issued.json()["token"]
    assert (issued.status_code, issued.headers["cache-control"]) == (201, "no-store")
    listed = await web.client.get("/admin/tokens")
    assert issued.json()["id"] in {token["id"] for token in listed.json()["tokens"]}
    events = await web.client.get(f"/admin/events?subject_id={issued.json()['id']}")
    assert [event["action"] for event in events.json()["events"]] == ["token.issued"]
    everything = await web.house.value(
        "SELECT string_agg(t::text, '') || (SELECT string_agg(e::text, '') FROM events e) FROM tokens t"
    )
    assert text not in listed.text + events.text + str(everything)


async def test_a_token_cannot_give_what_it_does_not_hold(web: Web) -> None:
    _, admin = await web.token({Scope.ADMIN_WRITE})
    wanted = {"name": "n", "scopes": ["admin:write", "databases:secrets"]}
    answer = await web.client.post("/admin/tokens", json=wanted, headers=admin)
    assert answer.status_code == 403
    assert "databases:secrets" in answer.json()["detail"]


async def test_a_token_that_would_be_born_expired_is_refused(web: Web) -> None:
    past = (web.house.clock() - timedelta(seconds=1)).isoformat()
    for moment in ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"):
        answer = await web.client.post(
            "/admin/tokens", json={"name": "n", "scopes": ["admin:read"], "expires_at": moment}
        )
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "expires_at")
    answer = await web.client.post("/admin/tokens", json={"name": "n", "scopes": ["admin:read"], "expires_at": past})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "expires_at")


async def test_a_second_revocation_is_no_error_and_leaves_no_second_event(web: Web) -> None:
    token, _ = await web.token()
    assert [(await web.client.delete(f"/admin/tokens/{token.id}")).status_code for _ in range(2)] == [204, 204]
    events = (await web.client.get(f"/admin/events?subject_id={token.id}")).json()["events"]
    assert [event["action"] for event in events] == ["token.revoked", "token.issued"]
    assert (await web.client.delete(f"/admin/tokens/{uuid4()}")).json()["code"] == "token_not_found"


async def test_who_asks_too_often_is_told_when_to_come_back_and_others_are_served(web: Web) -> None:
    async with open_web(web.house, Door(requests_per_second=0.1, burst=2)) as narrow:
        answers = [await narrow.client.get("/admin/stats") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
        _, other = await web.token()
        assert (await narrow.client.get("/admin/stats", headers=other)).status_code == 200
