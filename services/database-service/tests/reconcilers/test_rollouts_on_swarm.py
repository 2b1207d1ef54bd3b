"""Rolling changes over services of a real Swarm: one restart each, none for nothing, and back where an image is bad."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from database_service.actions.change_servers import Every, roll_out, rotate_admin_passwords
from database_service.actions.order_server import order_pool
from database_service.domain.operations import Operation, State, Target
from database_service.domain.servers import Health, Server, Status
from database_service.reconcilers import operations as operation_steps
from database_service.reconcilers.addressing import admin_of
from database_service.store import operations
from support.cluster import Cluster
from support.house import WHO, House
from support.swarm_lab import Lab
from support.swarm_servers import MIB, open_swarm_house, shared_storage, variation

pytestmark = pytest.mark.docker

PATIENCE = timedelta(seconds=60)


@pytest.fixture
async def house(
    healthy_swarm: Lab, control_dsn: str, tenant_cluster: Cluster, postgres_image: str
) -> AsyncIterator[House]:
    storage = shared_storage(healthy_swarm)
    async with open_swarm_house(healthy_swarm, control_dsn, tenant_cluster, postgres_image, storage) as opened:
        yield opened.with_policy(server_start_timeout=timedelta(seconds=20))


async def two_pools(house: House) -> list[Server]:
    ordered = [await order_pool(house.deps, WHO, max_instances=2) for _ in range(2)]
    pools = await asyncio.gather(*(house.settled(server.id, PATIENCE) for server in ordered))
    assert [pool.status for pool in pools] == [Status.ACTIVE] * 2, [pool.last_error for pool in pools]
    return pools


async def finished(house: House, operation: Operation) -> Operation:
    async with asyncio.timeout(90):
        while True:
            await operation_steps.settle(house.deps, operation.id, PATIENCE)
            async with house.deps.db.connection() as conn:
                found = await operations.get(conn, operation.id)
            assert found
            if found.due_at is None:
                return found
            house.clock.forward(max(found.due_at - house.clock(), timedelta()))


async def states(house: House, operation: Operation) -> list[str]:
    async with house.deps.db.connection() as conn:
        return [str(step.state) for step in await operations.steps(conn, operation.id)]


async def admin(house: House, server: Server) -> "asyncpg.Connection[asyncpg.Record]":
    told = admin_of(house.deps, await house.server(server.id))
    return await asyncpg.connect(
        host=told.host, port=told.port, user=told.user, password=told.password.reveal(), database="postgres"
    )


async def value(house: House, server: Server, sql: str) -> object:
    conn = await admin(house, server)
    try:
        return await conn.fetchval(sql)
    finally:
        await conn.close()


def containers(lab: Lab, *pools: Server) -> list[list[str]]:
    return [lab.manager.containers(pool.name) for pool in pools]


async def test_memory_and_cpus_change_service_by_service_and_the_settings_with_them(
    healthy_swarm: Lab, house: House
) -> None:
    pools = await two_pools(house)
    before = [await value(house, pool, "SHOW shared_buffers") for pool in pools]
    operation = await finished(
        house, await roll_out(house.deps, WHO, Every.SHARED, Target(memory_limit=384 * MIB, cpu_limit=0.5))
    )
    assert (operation.state, operation.last_error) == (State.SUCCEEDED, None)
    limits = "{{.Spec.TaskTemplate.Resources.Limits.MemoryBytes}} {{.Spec.TaskTemplate.Resources.Limits.NanoCPUs}}"
    for pool, had in zip(pools, before, strict=True):
        told = healthy_swarm.manager.docker("service", "inspect", "--format", limits, pool.name)
        assert told == f"{384 * MIB} {5 * 10**8}"
        assert (had, await value(house, pool, "SHOW shared_buffers")) == ("48MB", "96MB")
        assert (await house.server(pool.id)).health is Health.HEALTHY


async def test_an_image_that_crashes_stops_at_the_first_server_which_runs_the_old_one_again(
    healthy_swarm: Lab, house: House, postgres_image: str
) -> None:
    first, second = await two_pools(house)
    [_, untouched] = containers(healthy_swarm, first, second)
    crashing = variation(healthy_swarm, "dbs-test/crashing:18", 'ENTRYPOINT ["false"]')
    operation = await finished(house, await roll_out(house.deps, WHO, Every.SHARED, Target(image=crashing)))
    assert operation.state is State.FAILED
    assert first.name in str(operation.last_error)
    assert await states(house, operation) == ["failed", "cancelled"]
    assert containers(healthy_swarm, second) == [untouched]
    assert await value(house, first, "SELECT 1") == 1
    assert (await house.server(first.id)).image == postgres_image


async def test_a_tag_that_was_built_anew_and_crashes_is_put_back_to_what_it_meant_before(
    healthy_swarm: Lab, house: House, registry: str, postgres_image: str
) -> None:
    manager, tag = healthy_swarm.manager, f"{registry}/rebuilt:18"

    def publish(image: str) -> None:
        manager.docker("tag", image, tag)
        manager.docker("push", tag)

    publish(postgres_image)
    [first, _] = await two_pools(house.with_policy(default_image=tag))
    before = (await house.server(first.id)).image
    assert str(before).startswith(f"{tag}@sha256:")
    publish(variation(healthy_swarm, "dbs-test/crashing-anew:18", 'ENTRYPOINT ["false"]'))
    operation = await finished(house, await roll_out(house.deps, WHO, Every.SHARED, Target(image=tag)))
    assert operation.state is State.FAILED
    assert (await house.server(first.id)).image == before
    assert await value(house, first, "SELECT 1") == 1


async def test_an_image_that_is_missing_or_of_another_major_version_touches_no_server(
    healthy_swarm: Lab, house: House
) -> None:
    first, second = await two_pools(house)
    before = containers(healthy_swarm, first, second)
    other_major = variation(healthy_swarm, "dbs-test/postgres:19", "ENV PG_MAJOR=19")
    told = []
    for image in ("dbs-test/nobody:1", other_major):
        operation = await finished(house, await roll_out(house.deps, WHO, Every.SHARED, Target(image=image)))
        assert operation.state is State.FAILED
        told.append(str(operation.last_error))
    assert "dbs-test/nobody:1 is not found" in told[0]
    assert "dbs-test/postgres:19 is PostgreSQL 19" in told[1]
    assert containers(healthy_swarm, first, second) == before


async def test_a_new_image_reaches_every_server_and_its_data_is_there(healthy_swarm: Lab, house: House) -> None:
    pools = await two_pools(house)
    system = "SELECT system_identifier FROM pg_control_system()"
    before = [await value(house, pool, system) for pool in pools]
    newer = variation(healthy_swarm, "dbs-test/newer:18", "LABEL newer=yes")
    operation = await finished(house, await roll_out(house.deps, WHO, Every.SHARED, Target(image=newer)))
    assert (operation.state, operation.last_error) == (State.SUCCEEDED, None)
    assert [await value(house, pool, system) for pool in pools] == before
    for pool in pools:
        runs = "{{.Spec.TaskTemplate.ContainerSpec.Image}}"
        assert healthy_swarm.manager.docker("service", "inspect", "--format", runs, pool.name) == newer


async def test_administrators_passwords_change_without_a_restart_and_the_secret_follows_at_the_next_one(
    healthy_swarm: Lab, house: House
) -> None:
    first, second = await two_pools(house)
    before = containers(healthy_swarm, first, second)
    old = admin_of(house.deps, first)
    session = await admin(house, first)
    operation = await finished(house, await rotate_admin_passwords(house.deps, WHO, Every.SHARED))
    assert (operation.state, operation.last_error) == (State.SUCCEEDED, None)
    assert await session.fetchval("SELECT 1") == 1
    await session.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host=old.host, port=old.port, user=old.user, password=old.password.reveal(), database="postgres"
        )
    assert await value(house, first, "SELECT 1") == 1
    assert containers(healthy_swarm, first, second) == before

    await finished(house, await roll_out(house.deps, WHO, Every.SHARED, Target(memory_limit=256 * MIB)))
    names = healthy_swarm.manager.docker("secret", "ls", "--format", "{{.Name}}").split()
    assert sorted(names) == sorted(f"{pool.name}-admin-v2" for pool in (first, second))
