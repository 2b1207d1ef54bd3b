"""64 callers for 200 instances, each asked for three times at once, on a running system with four pools of 50."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import asyncpg
import httpx
import pytest

from e2e.conftest import READY, Stack, running
from support.cluster import free_port
from support.folders import open_folder

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

CALLERS, INSTANCES, TIMES, POOLS, SLOTS = 64, 200, 3, 4, 50
PATIENCE_S = 240

Answer = dict[str, object]


@pytest.fixture(scope="module")
def four_pools() -> Iterator[Stack]:
    with open_folder() as folder, running(folder / "data", free_port(), folder, POOLS) as begun:
        begun.until(READY)
        yield begun


async def _until_allocated(client: httpx.AsyncClient, instance: str) -> Answer:
    """As a caller does it: ask, and while the answer is 202, or 503 as too many ask at once, ask the same again."""
    wanted = {"instance_id": instance, "customer_id": "c-1", "plan_tier": "free"}
    async with asyncio.timeout(PATIENCE_S):
        while True:
            response = await client.post("/allocate", json=wanted, headers={"Prefer": "wait=20"}, timeout=60)
            if response.status_code == 200:
                return response.json()
            assert response.status_code == 202 or response.json()["code"] == "overloaded", response.text
            if response.status_code == 503:
                await asyncio.sleep(int(response.headers["Retry-After"]))


async def _logs_in(answer: Answer) -> bool:
    conn = await asyncpg.connect(
        host=answer["db_host"], port=answer["db_port"], database=answer["db_name"], user=answer["db_user"],
        password=answer["db_password"], timeout=30,
    )  # fmt: skip
    try:
        return await conn.fetchval("SELECT current_database()") == answer["db_name"]
    finally:
        await conn.close()


async def test_every_instance_has_one_database_and_all_its_answers_agree(four_pools: Stack) -> None:
    token = (four_pools.data / "admin.token").read_text().strip()
    limits = httpx.Limits(max_connections=CALLERS)
    async with httpx.AsyncClient(
        base_url=f"{four_pools.url}/api/database", headers={"Authorization": f"Bearer {token}"}, limits=limits
    ) as client:
        callers = asyncio.Semaphore(CALLERS)

        async def ask(instance: str) -> tuple[str, Answer]:
            async with callers:
                return instance, await _until_allocated(client, instance)

        asked = [f"once-{n}" for n in range(INSTANCES) for _ in range(TIMES)]
        answers = await asyncio.gather(*map(ask, asked))
        pools = (await client.get("/admin/pools", params={"limit": 100})).json()["pools"]

    seats: dict[str, set[tuple[object, ...]]] = {}
    for instance, answer in answers:
        seat = tuple(answer[key] for key in ("db_server_id", "db_host", "db_port", "db_name", "db_user", "db_password"))
        seats.setdefault(instance, set()).add(seat)
    assert len(seats) == INSTANCES
    assert all(len(different) == 1 for different in seats.values())
    databases = Counter(seat[:4] for different in seats.values() for seat in different)
    assert len(databases) == INSTANCES
    assert set(databases.values()) == {1}
    assert all(pool["current_instances"] <= pool["max_instances"] for pool in pools)
    assert len(pools) >= POOLS
    one_of_each = dict(answers)
    for chunk in range(0, INSTANCES, 20):
        some = list(one_of_each.values())[chunk : chunk + 20]
        assert all(await asyncio.gather(*map(_logs_in, some)))
