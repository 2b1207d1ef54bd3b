"""Our own database goes away and comes back: 503 with when to try again, nothing half-written, and then all is as before."""

from collections.abc import AsyncIterator

import pytest

from support.cable import Cable, cable_to
from support.cluster import Cluster
from support.house import open_house
from support.web import Web, open_web

WANTED = {"instance_id": "i", "customer_id": "c", "plan_tier": "free"}


@pytest.fixture
async def cable(cluster: Cluster) -> AsyncIterator[Cable]:
    async with cable_to(cluster.host, cluster.port) as cable:
        yield cable


@pytest.fixture
async def web(control_dsn: str, cluster: Cluster, tenant_cluster: Cluster, cable: Cable) -> AsyncIterator[Web]:
    dsn = control_dsn.replace(f":{cluster.port}/", f":{cable.port}/")
    async with open_house(dsn, tenant_cluster) as house, open_web(house) as web:
        yield web


async def test_while_it_is_away_everything_is_503_and_afterwards_everything_works(web: Web, cable: Cable) -> None:
    await web.house.pool()
    await cable.pull()
    for ask in (
        web.client.post("/allocate", json=WANTED),
        web.client.get("/databases/i"),
        web.client.get("/admin/stats"),
    ):
        answer = await ask
        assert (answer.status_code, answer.json()["code"]) == (503, "control_database_unavailable")
        assert answer.headers["retry-after"] == "2"
    ready = await web.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
    assert (await web.client.get("/health")).status_code == 200
    await cable.plug()
    assert (await web.client.post("/allocate", json=WANTED)).status_code == 200
    assert (await web.client.get("/health/ready")).json()["status"] == "ready"


async def test_a_token_cannot_be_checked_without_it_and_that_is_503_not_401(web: Web, cable: Cable) -> None:
    _, never_seen = await web.token()
    await cable.pull()
    answer = await web.client.get("/admin/stats", headers=never_seen)
    assert answer.status_code == 503
    await cable.plug()
    assert (await web.client.get("/admin/stats", headers=never_seen)).status_code == 200
