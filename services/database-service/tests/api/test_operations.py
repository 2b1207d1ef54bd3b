"""Long work over HTTP: begun once, followed, steered, and by whom."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from database_service.domain.ids import OperationId
from database_service.reconcilers import operations as operation_steps
from support.web import Web

GROW = {"max_instances": 12}


async def test_a_rollout_is_begun_once_per_key_and_followed_at_its_location(pooled: Web) -> None:
    [pool] = (await pooled.client.get("/admin/pools")).json()["pools"]
    wanted = GROW | {"pools": [pool["id"]]}
    first, again = [
        await pooled.client.post("/admin/pools/rollout", json=wanted, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    ]
    assert (first.status_code, first.json()) == (202, again.json())
    assert [step["name"] for step in first.json()["steps"]] == [pool["name"]]
    waiting = asyncio.create_task(pooled.client.get(f"http://test{first.headers['location']}?wait=20"))
    await operation_steps.settle(pooled.house.deps, OperationId(first.json()["id"]), timedelta(seconds=30))
    followed = (await waiting).json()
    assert (followed["state"], followed["steps"][0]["state"]) == ("succeeded", "succeeded")
    assert followed["finished_at"]
    assert (await pooled.client.get(f"/admin/pools/{pool['id']}")).json()["max_instances"] == 12


async def test_servers_of_a_live_operation_are_busy(pooled: Web) -> None:
    begun = await pooled.client.post("/admin/pools/rollout", json=GROW)
    refused = await pooled.client.post("/admin/pools/rollout", json=GROW)
    assert (refused.status_code, refused.json()["code"]) == (409, "server_busy")
    assert begun.json()["id"] in refused.json()["detail"]


async def test_an_operation_is_paused_resumed_and_cancelled_and_then_over(pooled: Web) -> None:
    path = f"/operations/{(await pooled.client.post('/admin/pools/rollout', json=GROW)).json()['id']}"
    assert (await pooled.client.post(f"{path}/pause")).json()["wish"] == "pause"
    assert (await pooled.client.post(f"{path}/resume")).json()["wish"] is None
    assert (await pooled.client.post(f"{path}/cancel")).json()["state"] == "cancelled"
    for verb in ("pause", "resume", "cancel"):
        over = await pooled.client.post(f"{path}/{verb}")
        assert (over.status_code, over.json()["code"]) == (409, "operation_over")


async def test_only_who_may_change_servers_steers_an_operation(pooled: Web) -> None:
    begun = (await pooled.client.post("/admin/pools/rollout", json=GROW)).json()
    _, reader = await pooled.token(["databases:read", "databases:write"])
    assert (await pooled.client.get(f"/operations/{begun['id']}", headers=reader)).status_code == 200
    refused = await pooled.client.post(f"/operations/{begun['id']}/cancel", headers=reader)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_pages_show_every_operation_once_newest_first(pooled: Web) -> None:
    made = []
    for _ in range(3):
        made.append((await pooled.client.post("/admin/pools/rollout", json=GROW)).json()["id"])
        await pooled.client.post(f"/operations/{made[-1]}/cancel")
    first = (await pooled.client.get("/operations?limit=2")).json()
    rest = (await pooled.client.get(f"/operations?limit=2&cursor={first['next_cursor']}")).json()
    assert [each["id"] for each in first["operations"] + rest["operations"]] == made[::-1]
    assert rest["next_cursor"] is None
    assert len((await pooled.client.get("/operations?state=cancelled")).json()["operations"]) == 3
    assert (await pooled.client.get("/operations?state=running")).json()["operations"] == []


async def test_what_is_not_there_or_not_asked_for_is_refused(pooled: Web) -> None:
    for path in (f"/operations/{uuid4()}", f"/operations/{uuid4()}?wait=1"):
        missing = await pooled.client.get(path)
        assert (missing.status_code, missing.json()["code"]) == (404, "operation_not_found")
    nothing = await pooled.client.post("/admin/pools/rollout", json={})
    assert (nothing.status_code, nothing.json()["code"]) == (422, "invalid_field")
    nobody = await pooled.client.post("/admin/pools/rotate-admin-password", json={"pools": [str(uuid4())]})
    assert (nobody.status_code, nobody.json()["code"]) == (404, "server_not_found")


async def test_servers_that_somebody_else_runs_keep_their_passwords_unless_named(pooled: Web) -> None:
    begun = await pooled.client.post("/admin/pools/rotate-admin-password")
    assert (begun.status_code, begun.json()["steps"]) == (202, [])
