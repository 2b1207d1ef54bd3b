"""A token of one customer: it has its databases and its operations, and of the others' it learns nothing."""

from typing import Any

import pytest

from database_service.auth.scopes import OF_CONSUMERS
from support.web import Web


async def bound(web: Web, customer: str) -> dict[str, str]:
    return (await web.token(OF_CONSUMERS, customer=customer))[1]


async def test_it_allocates_for_its_customer_and_for_no_other(pooled: Web) -> None:
    acme = await bound(pooled, "acme")
    ask = {"instance_id": "shop", "plan_tier": "free"}
    own = await pooled.client.post("/allocate", json=ask | {"customer_id": "acme"}, headers=acme)
    assert own.status_code == 200
    others = await pooled.client.post("/allocate", json=ask | {"customer_id": "globex"}, headers=acme)
    assert (others.status_code, others.json()["code"]) == (403, "customer_forbidden")
    assert await pooled.house.value("SELECT count(*) FROM databases WHERE customer_id IS NOT NULL") == 1


@pytest.mark.parametrize("verb", ["allocate", "provision-dedicated"])
async def test_of_an_instance_that_another_customer_has_it_learns_that_alone(pooled: Web, verb: str) -> None:
    await pooled.allocate("shop", customer_id="globex")
    await pooled.client.delete("/databases/shop")
    ask = {"instance_id": "shop", "customer_id": "acme", "plan_tier": "premium"}
    refused = await pooled.client.post(f"/{verb}", json=ask, headers=await bound(pooled, "acme"))
    assert (refused.status_code, refused.json()["code"]) == (409, "allocation_differs")
    assert refused.json()["detail"].endswith("with another customer_id.")


async def test_a_dedicated_server_on_order_is_its_customers(pooled: Web) -> None:
    ask = {"instance_id": "shop", "plan_tier": "premium"}
    ordered = await pooled.client.post("/provision-dedicated", json=ask | {"customer_id": "globex"})
    assert ordered.status_code == 202
    refused = await pooled.client.post(
        "/allocate", json=ask | {"customer_id": "acme"}, headers=await bound(pooled, "acme")
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "allocation_differs")


async def test_it_lists_the_operations_on_its_own_databases_page_by_page(pooled: Web) -> None:
    made: dict[str, list[Any]] = {"acme": [], "globex": []}
    for number, customer in enumerate(("acme", "globex", "acme", "globex", "acme")):
        await pooled.allocate(f"shop-{number}", customer_id=customer)
        changed = await pooled.client.post(f"/databases/shop-{number}/change-plan", json={"plan_tier": "starter"})
        made[customer].append(changed.json()["id"])
    fleets = await pooled.client.post("/admin/pools/rollout", json={"max_instances": 12})
    acme = await bound(pooled, "acme")
    first = (await pooled.client.get("/operations?limit=2", headers=acme)).json()
    rest = (await pooled.client.get(f"/operations?limit=2&cursor={first['next_cursor']}", headers=acme)).json()
    assert [each["id"] for each in (*first["operations"], *rest["operations"])] == made["acme"][::-1]
    assert rest["next_cursor"] is None
    for other in (made["globex"][0], fleets.json()["id"]):
        assert (await pooled.client.get(f"/operations/{other}", headers=acme)).json()["code"] == "operation_not_found"


async def test_an_operation_on_databases_of_several_customers_is_nobodys(pooled: Web) -> None:
    for instance, customer in (("a", "acme"), ("b", "globex")):
        await pooled.allocate(instance, customer_id=customer)
    [pool] = (await pooled.client.get("/admin/pools")).json()["pools"]
    drain = await pooled.client.post(f"/admin/pools/{pool['id']}/drain")
    assert len(drain.json()["steps"]) == 2
    hidden = await pooled.client.get(f"/operations/{drain.json()['id']}", headers=await bound(pooled, "acme"))
    assert hidden.status_code == 404


@pytest.mark.parametrize("path", ["/databases/%00", "/databases/a%20b", "/operations/none"])
async def test_what_is_no_id_is_refused_as_to_anybody(web: Web, path: str) -> None:
    assert (await web.client.get(path, headers=await bound(web, "acme"))).status_code == 422


@pytest.mark.parametrize("scope", ["admin:read", "admin:write", "metrics:read"])
async def test_it_holds_no_scope_over_what_is_nobodys(web: Web, scope: str) -> None:
    wanted = {"name": "n", "scopes": ["databases:read", scope], "customer_id": "acme"}
    refused = await web.client.post("/admin/tokens", json=wanted)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "scopes")


async def test_whose_it_is_is_told_where_tokens_are(web: Web) -> None:
    wanted = {"name": "n", "scopes": ["databases:read"], "customer_id": "acme"}
    assert (await web.client.post("/admin/tokens", json=wanted)).json()["customer_id"] == "acme"
    listed = (await web.client.get("/admin/tokens")).json()["tokens"]
    assert [token["customer_id"] for token in listed if token["name"] == "n"] == ["acme"]
