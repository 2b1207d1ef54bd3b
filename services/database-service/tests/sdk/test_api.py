"""The client over the real API where there is no stand-in for it: pools, long work, pages, callers that wait."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import asyncpg
import pytest

from database_service.domain.ids import OperationId
from database_service.reconcilers import operations as operation_steps
from database_service.reconcilers.linking import link_events
from database_service_client import AsyncOperation, errors
from sdk.stage import RealStage
from support.cluster import Cluster
from support.house import House
from support.web import open_web

T = TypeVar("T")


@pytest.fixture
async def real(house: House, other_cluster: Cluster) -> AsyncIterator[RealStage]:
    async with open_web(house) as web, RealStage.over(web, other_cluster) as stage:
        yield stage


async def until(look: Callable[[], Awaitable[T]]) -> T:
    """A row sets no Event."""
    while not (found := await look()):  # noqa: ASYNC110  see above
        await asyncio.sleep(0.01)
    return found


async def test_credentials_open_the_database(real: RealStage) -> None:
    await real.make_room()
    allocated = await real.client.allocate("i", "c", "free")
    conn = await asyncpg.connect(**allocated.dict())
    assert await conn.fetchval("SELECT current_database()") == allocated.db_name
    await conn.close()


async def test_who_waits_is_answered_as_soon_as_there_is_room(real: RealStage) -> None:
    waiting = asyncio.create_task(real.client.allocate("i", "c", "free", wait=25))
    ready = asyncio.create_task(until(lambda: real.web.house.value("SELECT 1 FROM databases WHERE status = 'waiting'")))
    await ready
    await real.make_room()
    await real.settle()
    assert (await waiting).instance_id == "i"
    assert (await real.client.wait_until_ready("i")).ready


async def test_a_rollout_is_followed_to_its_end(real: RealStage) -> None:
    await real.make_room()
    seen: list[AsyncOperation] = []
    begun = await real.client.admin.rollout(max_instances=12)
    waiting = asyncio.create_task(begun.wait(20, on_progress=seen.append))
    await until(lambda: asyncio.sleep(0, bool(seen)))
    await operation_steps.settle(real.web.house.deps, OperationId(begun.id), timedelta(seconds=30))
    assert (await waiting).state == "succeeded"
    assert (seen[0].state, seen[-1].state) == ("pending", "succeeded")


async def test_an_operation_is_steered_and_then_over(real: RealStage) -> None:
    await real.make_room()
    op = await real.client.admin.rollout(max_instances=12)
    assert (await op.pause()).wish == "pause"
    assert (await op.resume()).wish is None
    assert (await op.cancel()).state == "cancelled"
    assert (await op.cancel()).state == "cancelled", "asked again, it is what was asked for"
    with pytest.raises(errors.OperationCancelled):
        await op.wait()


async def test_pages_are_read_to_the_end(real: RealStage) -> None:
    for _ in range(3):
        await real.make_room(1)
    first = await real.client.admin.pools(limit=2)
    assert (len(first.pools), first.total_count) == (2, 3)
    everything = [pool.id async for pool in real.client.admin.each_pool(status="active")]
    assert everything[:2] == [pool.id for pool in first.pools]
    assert len(everything) == 3
    assert len([event async for event in real.client.admin.each_event(subject_id=everything[0])]) > 1


async def test_operators_have_their_verbs(real: RealStage) -> None:
    admin = real.client.admin
    await real.make_room()
    [pool] = (await admin.pools()).pools
    assert (await admin.cordon(pool.id, reason="to look at it")).status == "maintenance"
    assert (await admin.uncordon(pool.id)).status == "active"
    assert (await admin.health_check(pool.id)).health_status == "healthy"
    assert (await admin.stats()).total_pools == 1
    assert (await admin.drift()).drift == ()
    assert (await admin.find_drift()).wanted_at
    assert "dbs_" in await real.client.metrics()


async def test_a_token_is_issued_shown_once_and_revoked(real: RealStage) -> None:
    issued = await real.client.admin.issue_token("shop", ["databases:read"])
    assert issued.token not in repr(issued)
    async with real.with_token(issued.token) as shop:
        with pytest.raises(errors.Forbidden, match="databases:write"):
            await shop.allocate("i", "c", "free")
    await real.client.admin.revoke_token(issued.id)
    [shown] = [token for token in (await real.client.admin.tokens()).tokens if token.name == "shop"]
    assert (shown.scopes, shown.revoked_at is None) == (("databases:read",), False)


async def test_a_customers_token_has_its_databases_and_no_others(real: RealStage) -> None:
    await real.make_room()
    await real.client.allocate("i", "globex", "free")
    issued = await real.client.admin.issue_token("acme", ["databases:read", "databases:write"], customer_id="acme")
    assert issued.customer_id == "acme"
    async with real.with_token(issued.token) as acme:
        assert (await acme.allocate("j", "acme", "free")).customer_id == "acme"
        with pytest.raises(errors.CustomerForbidden):
            await acme.allocate("k", "globex", "free")
        with pytest.raises(errors.DatabaseNotFound):
            await acme.status("i")


async def test_the_trail_and_the_key_ring_are_looked_at(real: RealStage) -> None:
    await real.make_room()
    await link_events(real.web.house.deps)
    found = await real.client.admin.verify_events()
    assert (found.ok, found.complete, found.unlinked, found.fault) == (True, True, 0, None)
    assert (await real.client.admin.verify_events(since=found.head)).verified == 0
    for told in (await real.client.admin.keys(), await real.client.admin.reseal()):
        [key] = told.keys
        assert (key.id, key.seals, key.removable, key.links) == ("test", True, False, found.verified)
