"""What a consumer may rely on, asked through the client: of the API, and of the stand-in that consumers test with."""

import asyncio

import pytest

from database_service_client import errors
from sdk.stage import Stage

ASK = ("i-1", "c-1", "free")


async def test_the_same_allocation_gives_the_same_answer(stage: Stage) -> None:
    await stage.make_room()
    first, again = [await stage.client.allocate(*ASK) for _ in range(2)]
    assert first == again
    assert (first.instance_id, first.customer_id, first.plan_tier) == ASK
    assert first.db_password not in repr(first)


async def test_another_allocation_for_the_instance_is_refused(stage: Stage) -> None:
    await stage.make_room()
    await stage.client.allocate(*ASK)
    with pytest.raises(errors.AllocationDiffers) as refused:
        await stage.client.allocate("i-1", "c-1", "starter")
    assert refused.value.status == 409
    assert refused.value.request_id


async def test_without_room_the_time_is_up_and_nothing_is_lost(stage: Stage) -> None:
    with pytest.raises(errors.NotReadyYet) as waiting:
        await stage.client.allocate(*ASK, wait=0)
    assert waiting.value.database_status == "waiting"
    assert (await stage.client.status("i-1")).status == "waiting"
    await stage.make_room()
    await stage.settle()
    assert (await stage.client.allocate(*ASK, wait=0)).instance_id == "i-1"


async def test_a_change_that_is_followed(stage: Stage) -> None:
    await stage.make_room()
    seen = []
    op = await stage.client.admin.rollout(max_instances=12)
    assert op.state == "pending"
    done = asyncio.create_task(op.wait(20, on_progress=seen.append))
    await stage.settle()
    assert (await done).state == "succeeded"
