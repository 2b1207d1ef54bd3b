"""Tokens at the door: how they are refused, given and taken back. Who may do what is tried by test_authorisation."""

from datetime import timedelta
from uuid import uuid4

from database_service.auth.rate import Pace
from database_service.auth.scopes import Scope
from database_service.views.stats import stats
from support.web import Door, Web, open_web

ASK = {"instance_id": "i", "customer_id": "c", "plan_tier": "free"}


async def test_a_refusal_tells_the_scheme_and_changes_nothing(web: Web) -> None:
    _, reader = await web.token({Scope.DATABASES_READ})
    for headers in ({"Authorization": ""}, reader):
        answer = await web.client.post("/allocate", json=ASK, headers=headers)
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
    async with open_web(web.house, Door(token=Pace(0.1, 2))) as narrow:
        answers = [await narrow.client.get("/admin/stats") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
        assert [answer.headers["ratelimit"][:11] for answer in answers] == ['"token";r=1', '"token";r=0', '"token";r=0']
        assert answers[0].headers["ratelimit-policy"] == '"token";q=2;w=20'
        _, other = await web.token()
        assert (await narrow.client.get("/admin/stats", headers=other)).status_code == 200
