"""What a consumer may rely on, asked through the client: of the API, and of the stand-in that consumers test with."""

from datetime import timedelta
from uuid import uuid4

import pytest

from database_service_client import errors
from sdk.stage import Stage

ASK = ("i-1", "c-1", "free")
DAY_S = 86400


async def test_the_same_allocation_gives_the_same_answer(stage: Stage) -> None:
    await stage.make_room()
    first, again = [await stage.client.allocate(*ASK) for _ in range(2)]
    assert first == again
    assert (first.instance_id, first.customer_id, first.plan_tier, first.status) == (*ASK, "allocated")


async def test_another_allocation_for_the_instance_is_refused_and_says_what_differs(stage: Stage) -> None:
    await stage.make_room()
    await stage.client.allocate(*ASK)
    with pytest.raises(errors.AllocationDiffers, match="plan_tier") as refused:
        await stage.client.allocate("i-1", "c-1", "starter")
    assert refused.value.status == 409
    assert refused.value.request_id


async def test_without_room_the_time_is_up_and_nothing_is_lost(stage: Stage) -> None:
    with pytest.raises(errors.NotReadyYet) as waiting:
        await stage.client.allocate(*ASK, wait=0)
    assert waiting.value.database_status == "waiting"
    assert (await stage.client.status("i-1")).status == "waiting"
    with pytest.raises(errors.DatabaseNotReady):
        await stage.client.credentials("i-1")
    await stage.make_room()
    await stage.settle()
    ready = await stage.client.wait_until_ready("i-1", 0)
    assert (ready.status, ready.attempts, ready.last_error) == ("ready", 0, None)
    assert (await stage.client.allocate(*ASK, wait=0)).instance_id == "i-1"


async def test_credentials_are_those_of_the_allocation_and_the_status_has_none(stage: Stage) -> None:
    await stage.make_room()
    allocated = await stage.client.allocate(*ASK)
    found = await stage.client.credentials("i-1")
    assert found.dsn() == allocated.dsn()
    seen = await stage.client.status("i-1")
    assert seen.address == found.address
    assert [login.db_user for login in seen.logins] == [found.db_user]
    assert found.db_password not in f"{seen} {found} {allocated}"


async def test_a_database_may_be_named_but_not_with_a_reserved_or_strange_name(stage: Stage) -> None:
    await stage.make_room()
    assert (await stage.client.allocate("a", "c-1", "free", database_name="shop_1")).db_name == "shop_1"
    for number, name in enumerate(("postgres", "pg_x", "Shop", "é")):
        with pytest.raises((errors.InvalidField, errors.InvalidRequest)) as refused:
            await stage.client.allocate(f"b-{number}", "c-1", "free", database_name=name)
        assert [error.field for error in refused.value.fields] == ["database_name"], name


async def test_unknown_plans_and_templates_and_strange_ids_are_named(stage: Stage) -> None:
    for plan, template, instance, field in (
        ("gold", None, "i", "plan_tier"),
        ("free", "odoo", "i", "template"),
        ("free", None, "an id", "instance_id"),
    ):
        with pytest.raises(errors.ApiError) as refused:
            await stage.client.allocate(instance, "c-1", plan, template=template)
        assert (refused.value.status, [error.field for error in refused.value.fields]) == (422, [field])


async def test_a_plan_without_dedicated_servers_refuses_one(stage: Stage) -> None:
    with pytest.raises(errors.PlanHasNoDedicated):
        await stage.client.allocate(*ASK, require_dedicated=True)


async def test_who_has_no_database_is_told_so_whatever_it_asks(stage: Stage) -> None:
    for asked in (
        stage.client.status("nobody"),
        stage.client.credentials("nobody"),
        stage.client.rotate("nobody"),
        stage.client.release("nobody"),
        stage.client.undelete("nobody"),
        stage.client.protect("nobody"),
    ):
        with pytest.raises(errors.DatabaseNotFound) as refused:
            await asked
        assert refused.value.status == 404


async def test_a_rotation_gives_a_new_login_beside_the_old_one_which_ends(stage: Stage) -> None:
    await stage.make_room()
    old = await stage.client.allocate(*ASK)
    new = await stage.client.rotate("i-1", overlap_seconds=600)
    assert new.db_user != old.db_user
    assert (await stage.client.credentials("i-1")).dsn() == new.dsn()
    by_user = {login.db_user: login for login in new.logins}
    assert by_user[new.db_user].expires_at is None
    ends = by_user[old.db_user].expires_at
    assert ends is not None
    assert abs(ends - by_user[new.db_user].created_at - timedelta(seconds=600)) < timedelta(seconds=5)
    await stage.later(601)
    assert [login.db_user for login in (await stage.client.status("i-1")).logins] == [new.db_user]


async def test_rotations_have_an_end(stage: Stage) -> None:
    await stage.make_room()
    await stage.client.allocate(*ASK)
    for _ in range(4):
        await stage.client.rotate("i-1")
    with pytest.raises(errors.TooManyLogins):
        await stage.client.rotate("i-1")


async def test_a_release_can_be_taken_back_with_the_same_credentials(stage: Stage) -> None:
    await stage.make_room()
    before = await stage.client.allocate(*ASK)
    released = await stage.client.release("i-1", why="a test")
    assert released.purge_after
    await stage.settle()
    assert (await stage.client.status("i-1")).status == "released"
    for asked in (stage.client.allocate(*ASK), stage.client.credentials("i-1"), stage.client.wait_until_ready("i-1")):
        with pytest.raises(errors.DatabaseReleased):
            await asked
    assert await stage.client.undelete("i-1") == before
    with pytest.raises(errors.DatabaseNotReleased):
        await stage.client.undelete("i-1")


async def test_what_still_waits_when_it_is_released_is_gone(stage: Stage) -> None:
    with pytest.raises(errors.NotReadyYet):
        await stage.client.allocate(*ASK, wait=0)
    assert (await stage.client.release("i-1")).status == "purged"
    with pytest.raises(errors.DatabaseGone):
        await stage.client.status("i-1")


async def test_a_released_database_is_gone_after_its_grace(stage: Stage) -> None:
    await stage.make_room()
    await stage.client.allocate(*ASK)
    await stage.client.release("i-1")
    await stage.settle()
    await stage.later(3 * DAY_S + 1)
    for asked in (stage.client.status("i-1"), stage.client.allocate(*ASK), stage.client.undelete("i-1")):
        with pytest.raises(errors.DatabaseGone):
            await asked


async def test_a_protected_database_is_not_released(stage: Stage) -> None:
    await stage.make_room()
    await stage.client.allocate(*ASK)
    assert (await stage.client.protect("i-1")).protected
    with pytest.raises(errors.DatabaseProtected):
        await stage.client.release("i-1")
    assert not (await stage.client.protect("i-1", protected=False)).protected
    assert (await stage.client.release("i-1")).purge_after


async def test_a_released_database_does_not_rotate(stage: Stage) -> None:
    await stage.make_room()
    await stage.client.allocate(*ASK)
    await stage.client.release("i-1")
    with pytest.raises(errors.DatabaseReleased):
        await stage.client.rotate("i-1")


async def test_an_operation_that_is_not_there_is_said_not_to_be(stage: Stage) -> None:
    for asked in (stage.client.operations.get(uuid4()), stage.client.operations.cancel(uuid4())):
        with pytest.raises(errors.OperationNotFound):
            await asked
    assert [op async for op in stage.client.operations.each()] == []


async def test_it_is_alive_and_ready(stage: Stage) -> None:
    assert (await stage.client.health()).status == "alive"
    assert (await stage.client.ready()).status == "ready"


async def test_a_dedicated_server_comes_later(stage: Stage) -> None:
    with pytest.raises(errors.NotReadyYet):
        await stage.client.allocate("i-1", "c-1", "premium", wait=0)
    seen = await stage.client.status("i-1")
    assert (seen.server_type, seen.limits.connections) == ("dedicated", 80)
