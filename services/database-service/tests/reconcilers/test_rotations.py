"""Administrators' passwords are changed one server after the other, and nobody's session ends."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from database_service.actions.allocate import allocate
from database_service.actions.change_servers import Every, rotate_admin_passwords
from database_service.actions.steer_operation import cancel
from database_service.actions.try_again import try_again
from database_service.domain.operations import Operation, State
from database_service.domain.servers import Health, Server
from database_service.domain.tenancy import Admin
from database_service.provisioners.runtime import PostgresRuntime
from database_service.reconcilers import operations as operation_steps
from database_service.reconcilers.addressing import admin_of
from database_service.secretbox import new_password
from database_service.store import servers
from support.cluster import Cluster
from support.fleet import Fleet, open_fleet
from support.house import WHO, ask, login


@pytest.fixture
async def fleet(
    control_dsn: str, tenant_cluster: Cluster, runtime: PostgresRuntime, folder: Path
) -> AsyncIterator[Fleet]:
    async with open_fleet(control_dsn, tenant_cluster, runtime, folder) as fleet:
        yield fleet


async def rotate(fleet: Fleet) -> Operation:
    return await fleet.finished(await rotate_admin_passwords(fleet.house.deps, WHO, Every.SHARED))


async def lets_in(admin: Admin) -> bool:
    try:
        conn = await asyncpg.connect(
            host=admin.host, port=admin.port, user=admin.user, password=admin.password.reveal(), database="postgres"
        )
    except asyncpg.InvalidPasswordError:
        return False
    await conn.close()
    return True


def with_next(fleet: Fleet, server: Server) -> Admin:
    assert server.admin_password_next
    password = fleet.house.deps.secrets.open(server.admin_password_next, server.id)
    return replace(admin_of(fleet.house.deps, server), password=password)


async def test_the_new_password_works_the_old_one_does_not_and_tenants_notice_nothing(fleet: Fleet) -> None:
    pools = await fleet.order(2)
    tenant = await login(await allocate(fleet.house.deps, ask("a"), WHO))
    old = [admin_of(fleet.house.deps, pool) for pool in pools]
    operation = await rotate(fleet)
    assert (operation.state, await fleet.states(operation)) == (State.SUCCEEDED, ["succeeded"] * 2)
    for pool, before in zip(pools, old, strict=True):
        after = await fleet.house.server(pool.id)
        assert (after.admin_password_version, after.admin_password_next) == (2, None)
        assert not await lets_in(before)
        assert await lets_in(admin_of(fleet.house.deps, after))
    assert await tenant.fetchval("SELECT 1") == 1
    await tenant.close()
    assert fleet.watched.stopped == []


async def test_work_on_a_server_goes_on_with_its_new_password(fleet: Fleet) -> None:
    await fleet.order(1)
    await fleet.house.spares(1)
    await rotate(fleet)
    await allocate(fleet.house.deps, ask("a"), WHO)
    await (await login(await allocate(fleet.house.deps, ask("b"), WHO))).close()


async def test_a_password_that_the_server_took_before_a_death_is_recorded_and_not_made_anew(fleet: Fleet) -> None:
    [pool] = await fleet.order(1)
    operation = await rotate_admin_passwords(fleet.house.deps, WHO, Every.SHARED)

    async def begun() -> bool:
        return await fleet.states(operation) == ["running"]

    await fleet.until(begun, operation)
    wanted = with_next(fleet, await fleet.house.server(pool.id))
    await fleet.house.deps.tenants.change_password(admin_of(fleet.house.deps, pool), wanted)
    assert (await fleet.finished(operation)).state is State.SUCCEEDED
    assert admin_of(fleet.house.deps, await fleet.house.server(pool.id)) == wanted


async def test_a_server_that_cannot_be_reached_in_time_fails_and_keeps_both_passwords(fleet: Fleet) -> None:
    first, second = await fleet.order(2)
    operation = await rotate_admin_passwords(fleet.house.deps, WHO, Every.SHARED)
    await fleet.provisioner.remove(first.id, keep_data=True)
    for _ in range(8):
        await operation_steps.step(fleet.house.deps, operation.id)
        fleet.house.clock.forward(timedelta(seconds=60))
    failed = await fleet.operation(operation.id)
    assert failed.state is State.FAILED
    assert f"{first.name}: The server at" in str(failed.last_error)
    left = await fleet.house.server(first.id)
    assert (left.admin_password_version, left.admin_password_next is not None) == (1, True)
    assert (await fleet.house.server(second.id)).admin_password_next is None


async def test_a_server_whose_answer_was_lost_is_found_to_have_its_next_password_by_its_own_step(fleet: Fleet) -> None:
    [pool] = await fleet.order(1)
    deps = fleet.house.deps
    async with deps.db.transaction() as conn:
        left = await servers.want_password(conn, pool.id, deps.secrets.seal(new_password(), pool.id))
    wanted = with_next(fleet, left)
    await deps.tenants.change_password(admin_of(deps, pool), wanted)
    fleet.house.clock.forward(deps.policy.health_interval)
    await fleet.house.until_quiet()
    found = await fleet.house.server(pool.id)
    assert (found.admin_password_version, found.admin_password_next, found.health) == (2, None, Health.HEALTHY)
    assert admin_of(deps, found).password == wanted.password


async def test_the_next_rotation_begins_with_the_password_that_was_left_over(fleet: Fleet) -> None:
    [pool] = await fleet.order(1)
    async with fleet.house.deps.db.transaction() as conn:
        sealed = fleet.house.deps.secrets.seal(new_password(), pool.id)
        left = await servers.want_password(conn, pool.id, sealed)
        kept = await servers.want_password(conn, pool.id, b"another")
    assert kept.admin_password_next == left.admin_password_next
    wanted = with_next(fleet, left)
    assert (await rotate(fleet)).state is State.SUCCEEDED
    assert admin_of(fleet.house.deps, await fleet.house.server(pool.id)).password == wanted.password


async def test_new_passwords_that_were_cancelled_are_made_after_all_when_it_is_tried_again(fleet: Fleet) -> None:
    await fleet.order(2)
    operation = await rotate_admin_passwords(fleet.house.deps, WHO, Every.SHARED)
    await cancel(fleet.house.deps, operation.id, WHO)
    assert (await fleet.finished(operation)).state is State.CANCELLED
    again = await fleet.finished(await try_again(fleet.house.deps, operation.id, WHO))
    assert (again.kind, again.state) == (operation.kind, State.SUCCEEDED)
    assert await fleet.states(again) == ["succeeded"] * 2
