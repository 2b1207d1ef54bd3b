"""What an operator sees and does over HTTP."""

from uuid import uuid4

from support.web import Web

CONTRACT = {
    "id", "name", "server_type", "status", "health_status", "current_instances", "max_instances", "capacity_percentage",
    "host", "port", "postgres_version", "cpu_limit", "memory_limit", "created_at", "last_health_check",
}  # fmt: skip


async def test_a_pool_is_ordered_once_per_key_and_followed_at_its_location(web: Web) -> None:
    wanted = {"max_instances": 7, "cpu_limit": 0.5, "memory_limit": 1 << 30, "priority": 5, "manual": True}
    first, again = [
        await web.client.post("/admin/pools", json=wanted, headers={"Idempotency-Key": "k"}) for _ in range(2)
    ]
    assert first.status_code == 202
    assert first.json() == again.json()
    seen = (await web.client.get(f"http://test{first.headers['location']}")).json()
    assert seen.keys() >= CONTRACT
    assert {name: seen[name] for name in wanted} == wanted
    assert seen["status"] == "provisioning"


async def test_an_order_without_wishes_is_as_the_service_is_set(web: Web) -> None:
    assert (await web.client.post("/admin/pools")).json()["max_instances"] == web.house.deps.policy.pool_slots


async def test_pages_show_every_pool_once_and_count_all(web: Web) -> None:
    ordered = [(await web.client.post("/admin/pools", json={})).json()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = (await web.client.get(f"/admin/pools?limit=2{cursor and f'&cursor={cursor}'}")).json()
        assert page["total_count"] == 5
        seen += [pool["id"] for pool in page["pools"]]
        cursor = page["next_cursor"]
    assert seen == ordered


async def test_a_cursor_that_is_none_of_ours_is_422(web: Web) -> None:
    for cursor in ("x", "AAAA", "é", "%00", "A" * 12, "_" * 12):
        answer = await web.client.get(f"/admin/pools?cursor={cursor}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor"), cursor


async def test_full_and_maintenance_are_shown_and_found_though_no_row_holds_them(web: Web) -> None:
    pool = await web.house.pool(slots=1)
    await web.allocate()
    assert await _shown(web, pool.id) == "full"
    answer = await web.client.post(f"/admin/pools/{pool.id}/cordon", json={"reason": "disk"})
    assert (answer.json()["status"], answer.json()["cordon_reason"]) == ("maintenance", "disk")
    assert await _shown(web, pool.id) == "maintenance"
    await web.client.post(f"/admin/pools/{pool.id}/uncordon")
    assert await _shown(web, pool.id) == "full"
    await web.client.delete("/databases/i-1")
    await web.house.until_quiet()
    purge_after = (await web.house.database("i-1")).purge_after
    assert purge_after
    await web.house.later(purge_after - web.house.clock())
    assert await _shown(web, pool.id) == "active"


async def _shown(web: Web, pool_id: object) -> str:
    """Its status, which must be the only one it is listed under."""
    pool = (await web.client.get(f"/admin/pools/{pool_id}")).json()
    for status in ("active", "full", "maintenance"):
        page = (await web.client.get(f"/admin/pools?status={status}&server_type=shared")).json()
        assert (page["total_count"], len(page["pools"])) == (int(status == pool["status"]),) * 2
    return str(pool["status"])


async def test_what_a_pool_holds_is_counted_from_its_slots(web: Web) -> None:
    pool = await web.house.pool(slots=4)
    await web.house.spares(2)
    await web.allocate()
    seen = (await web.client.get(f"/admin/pools/{pool.id}")).json()
    assert (seen["current_instances"], seen["spare_instances"], seen["capacity_percentage"]) == (2, 1, 50.0)


async def test_a_health_check_looks_now(web: Web) -> None:
    pool = await web.house.pool()
    answer = (await web.client.post(f"/admin/pools/{pool.id}/health-check")).json()
    assert answer.keys() == {"pool_id", "status", "health_status", "message", "checked_at"}
    assert (answer["pool_id"], answer["health_status"]) == (str(pool.id), "healthy")


async def test_only_an_empty_pool_is_retired(web: Web) -> None:
    pool = await web.house.pool()
    await web.allocate()
    refused = await web.client.post(f"/admin/pools/{pool.id}/retire")
    assert (refused.status_code, refused.json()["code"]) == (409, "server_not_empty")
    empty = (await web.client.post("/admin/pools", json={})).json()
    retired = await web.client.post(f"/admin/pools/{empty['id']}/retire")
    assert (retired.status_code, retired.json()["status"]) == (202, "deprovisioning")


async def test_an_unknown_pool_is_404_for_every_verb(web: Web) -> None:
    for method, verb in (("GET", ""), *(("POST", v) for v in ("/health-check", "/cordon", "/uncordon", "/retire"))):
        answer = await web.client.request(method, f"/admin/pools/{uuid4()}{verb}")
        assert (answer.status_code, answer.json()["code"]) == (404, "server_not_found"), verb


async def test_a_server_is_looked_at_first_and_adopted_only_as_it_was_seen(web: Web) -> None:
    tenant = web.house.tenant
    target = {
        "host": tenant.host, "port": tenant.port, "user": tenant.superuser, "password": tenant.password.reveal(),
        "max_instances": 5,
    }  # fmt: skip
    report = await web.client.post("/admin/pools/adopt", json=target)
    assert report.status_code == 200
    assert report.json()["superuser"] is True
    assert tenant.password.reveal() not in report.text
    wrong = await web.client.post("/admin/pools/adopt", json=target | {"confirm": "something-else"})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "adoption_changed")
    adopted = await web.client.post("/admin/pools/adopt", json=target | {"confirm": report.json()["confirmation"]})
    assert (adopted.status_code, adopted.json()["provisioner"]) == (202, "external")


async def test_a_server_that_does_not_answer_cannot_be_adopted_and_its_password_is_not_repeated(web: Web) -> None:
    target = {"host": "127.0.0.1", "port": 1, "user": "u", "password": "hunter2-hunter2", "max_instances": 5}
    answer = await web.client.post("/admin/pools/adopt", json=target)
    assert answer.status_code in {422, 503}
    assert "hunter2" not in answer.text


async def test_statistics_add_up(web: Web) -> None:
    await web.house.pool(slots=4)
    await web.house.pool(slots=6)
    await web.house.spares(1)
    await web.allocate("a")
    cordoned = (await web.client.get("/admin/pools")).json()["pools"][0]["id"]
    await web.client.post(f"/admin/pools/{cordoned}/cordon")
    stats = (await web.client.get("/admin/stats")).json()
    spare = stats.pop("total_spare")
    assert stats.pop("databases") == {"spare": spare, "ready": 1}
    assert stats == {
        "total_pools": 2, "active_pools": 1, "total_capacity": 10, "total_used": 1 + spare, "total_free": 9 - spare,
        "total_waiting": 0, "overall_utilization": (1 + spare) * 10.0, "by_status": {"active": 1, "maintenance": 1},
        "by_type": {"shared": 2}, "by_health": {"healthy": 2},
    }  # fmt: skip


async def test_statistics_of_nothing_are_zeros(web: Web) -> None:
    stats = (await web.client.get("/admin/stats")).json()
    assert (stats["total_pools"], stats["total_capacity"], stats["overall_utilization"]) == (0, 0, 0.0)
