"""What a database uses is told with its status; who takes most of a pool is told to operators."""

from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from database_service.domain.plans import MIB, PLANS, Tier
from database_service.reconcilers.usage import sample_usage
from support.web import Web


async def run(web: Web, instance: str, *statements: str) -> None:
    found = (await web.client.get(f"/databases/{instance}/credentials")).json()
    conn = await asyncpg.connect(
        host=found["db_host"], port=found["db_port"], user=found["db_user"], password=found["db_password"],
        database=found["db_name"],
    )  # fmt: skip
    for statement in statements:
        await conn.execute(statement)
    await conn.close()


async def sampled(web: Web) -> None:
    web.house.clock.forward(timedelta(minutes=1))
    await sample_usage(web.house.deps)
    await web.house.until_quiet()


async def test_usage_is_told_once_it_was_sampled(pooled: Web) -> None:
    await pooled.allocate()
    assert (await pooled.client.get("/databases/i-1")).json()["usage"] is None
    await sampled(pooled)
    first = (await pooled.client.get("/databases/i-1")).json()
    assert first["limits"]["storage_bytes"] == first["usage"]["storage_bytes"] == 1024 * MIB
    assert (first["usage"]["state"], first["usage"]["door_shut"]) == ("ok", False)
    assert 0 < first["usage"]["size_percent"] < 5
    assert first["usage"]["busy"] is None
    await sampled(pooled)
    assert (await pooled.client.get("/databases/i-1")).json()["usage"]["busy"] is not None


async def test_the_noisiest_come_first_with_advice_and_only_those_that_are_asked_for(
    pooled: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANS, Tier.FREE, replace(PLANS[Tier.FREE], storage_bytes=16 * MIB))
    for instance in ("quiet", "loud"):
        await pooled.allocate(instance)
    await run(pooled, "loud", "CREATE TABLE t AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 100000)")
    await sampled(pooled)
    found = (await pooled.client.get("/admin/neighbours")).json()["neighbours"]
    assert [each["instance_id"] for each in found] == ["loud", "quiet"]
    assert (found[0]["loudest"], found[0]["state"]) == ("size", "stopped")
    assert found[0]["shares"]["size"] > 80
    assert "so its door is shut" in found[0]["advice"][0] or "so its writes are stopped" in found[0]["advice"][0]
    assert found[1]["advice"] == []
    assert len((await pooled.client.get("/admin/neighbours?limit=1")).json()["neighbours"]) == 1
    pool = found[0]["pool_id"]
    assert len((await pooled.client.get(f"/admin/neighbours?pool_id={pool}")).json()["neighbours"]) == 2
    elsewhere = "00000000-0000-4000-8000-000000000001"
    assert (await pooled.client.get(f"/admin/neighbours?pool_id={elsewhere}")).json()["neighbours"] == []
    told = (await pooled.client.get("/metrics")).text
    assert 'dbs_storage_full{state="stopped"} 1.0' in told
    assert 'dbs_storage_full{state="warning"} 0.0' in told
