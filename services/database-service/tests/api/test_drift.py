"""Drift over HTTP: listed, looked for, and removed with an expiring confirmation of exactly one thing."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from database_service.reconcilers import drift as drift_steps
from support.strays import Yard
from support.web import Web, open_web

LIST = "/admin/drift"


@pytest.fixture
async def web(yard: Yard) -> AsyncIterator[Web]:
    async with open_web(yard.house) as opened:
        yield opened


async def listed(web: Web, **query: Any) -> dict[str, Any]:
    answer = await web.client.get(LIST, params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def a_finding(web: Web, yard: Yard, *, past_grace: bool = True) -> dict[str, Any]:
    yard.directory()
    await drift_steps.find_drift(yard.house.deps)
    if past_grace:
        yard.house.clock.forward(timedelta(days=1, minutes=1))
    return dict((await listed(web))["drift"][-1])


async def remove(web: Web, finding: dict[str, Any], **body: object) -> Any:
    return await web.client.post(f"{LIST}/{finding['id']}/remove", json=body)


async def test_before_the_first_look_nothing_is_known_and_that_is_said(web: Web) -> None:
    assert await listed(web) == {
        "drift": [], "total_count": 0, "next_cursor": None, "looked_at": None, "not_looked_at": [], "look_wanted": False,
    }  # fmt: skip


async def test_a_look_is_asked_for_and_made_by_the_worker(web: Web, yard: Yard) -> None:
    yard.directory()
    asked = await web.client.post(f"{LIST}/find")
    assert asked.status_code == 202
    assert asked.headers["Location"] == "/api/database/admin/drift"
    waiting = await listed(web)
    assert (waiting["drift"], waiting["look_wanted"]) == ([], True)
    await drift_steps.step(yard.house.deps)
    after = await listed(web)
    assert after["look_wanted"] is False
    assert datetime.fromisoformat(after["looked_at"]) > datetime.fromisoformat(asked.json()["wanted_at"])
    [finding] = after["drift"]
    assert (finding["kind"], finding["state"], finding["removable"]) == ("server_without_row", "open", True)
    assert finding["told"] == [f"directory {yard.home}/{finding['server_id']}"]


async def test_the_list_comes_in_pages_and_is_filtered(web: Web, yard: Yard) -> None:
    for _ in range(3):
        yard.directory()
    await drift_steps.find_drift(yard.house.deps)
    first = await listed(web, limit=2)
    rest = await listed(web, limit=2, cursor=first["next_cursor"])
    assert [len(first["drift"]), len(rest["drift"]), rest["next_cursor"], first["total_count"]] == [2, 1, None, 3]
    assert len({finding["id"] for finding in first["drift"] + rest["drift"]}) == 3
    assert (await listed(web, kind="role_gone"))["total_count"] == 0
    assert (await listed(web, state="gone"))["total_count"] == 0
    assert (await listed(web, kind="server_without_row", state="open"))["total_count"] == 3
    assert (await web.client.get(LIST, params={"kind": "nothing"})).status_code == 422


async def test_it_is_shown_first_and_removed_with_its_confirmation_only(web: Web, yard: Yard) -> None:
    finding = await a_finding(web, yard)
    shown = await remove(web, finding)
    assert shown.status_code == 200
    offer = shown.json()
    assert offer["drift"]["told"] == finding["told"]
    lasts = datetime.fromisoformat(offer["expires_at"]) - yard.house.clock()
    assert timedelta(minutes=14) < lasts <= timedelta(minutes=15, seconds=1)
    assert (await listed(web))["drift"][0]["state"] == "open"
    taken = await remove(web, finding, confirm=offer["confirmation"])
    assert (taken.status_code, taken.json()["state"], taken.json()["confirmed_by"]) == (202, "removing", "test")
    assert len(await yard.local.list_ours()) == 1  # the API itself touches nothing
    await drift_steps.step(yard.house.deps)
    assert await yard.local.list_ours() == []
    again = await remove(web, finding, confirm=offer["confirmation"])
    assert (again.status_code, again.json()["state"]) == (202, "removed")
    assert (await listed(web, state="removed"))["total_count"] == 1
    events = (await web.client.get("/admin/events", params={"subject_id": finding["id"]})).json()["events"]
    assert [(event["action"], event["actor"]) for event in reversed(events)] == [
        ("drift.found", "reconciler"), ("drift.removal_confirmed", "test"), ("drift.removed", "reconciler"),
    ]  # fmt: skip


async def test_what_is_refused_has_a_stable_code(web: Web, yard: Yard) -> None:
    finding = await a_finding(web, yard, past_grace=False)
    assert (await remove(web, finding)).json()["code"] == "drift_in_grace"
    yard.house.clock.forward(timedelta(days=1, minutes=1))
    offer = (await remove(web, finding)).json()
    for wrong in ("wrong", offer["confirmation"][:-1] + "x"):
        answer = await remove(web, finding, confirm=wrong)
        assert (answer.status_code, answer.json()["code"]) == (409, "confirmation_mismatch")
    yard.house.clock.forward(timedelta(minutes=16))
    late = await remove(web, finding, confirm=offer["confirmation"])
    assert (late.status_code, late.json()["code"]) == (409, "confirmation_expired")
    assert (await remove(web, {"id": uuid4()})).json()["code"] == "drift_not_found"


async def test_what_is_only_reported_says_why(web: Web, yard: Yard) -> None:
    yard.directory(id="11111111-1111-4111-8111-111111111111")
    await drift_steps.find_drift(yard.house.deps)
    [finding] = (await listed(web))["drift"]
    assert (finding["removable"], finding["removable_from"]) == (False, None)
    answer = await remove(web, finding)
    assert (answer.status_code, answer.json()["code"]) == (409, "drift_not_removable")
    assert answer.json()["detail"] == finding["kept_because"] == "It does not carry our label."


async def test_who_may_read_may_not_remove(web: Web, yard: Yard) -> None:
    finding = await a_finding(web, yard)
    _, reader = await web.token(["admin:read"])
    assert (await web.client.get(LIST, headers=reader)).status_code == 200
    for path in (f"{LIST}/find", f"{LIST}/{finding['id']}/remove"):
        assert (await web.client.post(path, headers=reader)).status_code == 403


async def test_the_numbers_count_it_by_kind(web: Web, yard: Yard) -> None:
    await a_finding(web, yard)
    told = (await web.client.get("/metrics")).text
    assert 'dbs_drift{kind="server_without_row"} 1.0' in told
    assert 'dbs_drift{kind="role_gone"} 0.0' in told
