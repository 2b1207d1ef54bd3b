"""The same defects where servers are services of a real Swarm: each named after what it did to its users."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from database_service.actions.allocate import allocate, provision_dedicated
from database_service.actions.order_server import order_pool
from database_service.actions.release import release, undelete
from database_service.actions.retire_server import retire
from database_service.domain.answers import Allocation, Pending
from database_service.domain.databases import Ask
from database_service.domain.ids import CustomerId, InstanceId, ServerId
from database_service.domain.plans import GIB, Tier
from database_service.domain.servers import Health, Server, Status
from database_service.provisioners.swarm import description
from database_service.reconcilers import upkeep
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.servers import spec_of
from support.cluster import Cluster
from support.house import WHO, House, ask, login
from support.swarm_lab import Lab
from support.swarm_servers import a_pool, open_swarm_house, swarm_provisioner, variation

pytestmark = pytest.mark.docker

PATIENCE = timedelta(seconds=60)


@pytest.fixture
async def swarm_house(
    healthy_swarm: Lab, control_dsn: str, tenant_cluster: Cluster, postgres_image: str, storage: Path
) -> AsyncIterator[House]:
    async with open_swarm_house(healthy_swarm, control_dsn, tenant_cluster, postgres_image, storage) as house:
        yield house


async def until_status(house: House, server_id: ServerId, status: Status) -> Server:
    """Swept until it is so."""
    async with asyncio.timeout(60):
        while (server := await house.settled(server_id)).status is not status:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.1)
    return server


def services(lab: Lab) -> list[str]:
    return sorted(lab.manager.docker("service", "ls", "--format", "{{.Name}}").split())


def mounts_of(lab: Lab, server: Server) -> list[dict[str, str]]:
    [container] = lab.manager.containers(server.name)
    told: list[dict[str, str]] = json.loads(lab.manager.docker("inspect", "--format", "{{json .Mounts}}", container))
    return told


async def test_05_a_pool_that_never_came_up_is_cleaned_up_once_and_leaves_nothing(
    healthy_swarm: Lab, swarm_house: House, storage: Path
) -> None:
    house = swarm_house.with_policy(default_image="dbs-test/nobody:1", server_start_timeout=timedelta(seconds=1))
    server = await order_pool(house.deps, WHO)
    failed = await until_status(house, server.id, Status.ERROR)
    assert failed.last_error == "image dbs-test/nobody:1 is not found, neither on node manager nor in its registry"
    house.clock.forward(house.deps.policy.failed_pool_grace)
    assert await upkeep.cleanup_failed_pools(house.deps) == 1
    await until_status(house, server.id, Status.GONE)
    assert await upkeep.cleanup_failed_pools(house.deps) == 0
    assert (services(healthy_swarm), [*storage.glob("*")]) == ([], [])  # noqa: ASYNC240  a folder in memory


async def test_06_orders_at_once_and_steps_done_twice_make_one_service_each(
    healthy_swarm: Lab, swarm_house: House
) -> None:
    ordered = await asyncio.gather(*(order_pool(swarm_house.deps, WHO) for _ in range(3)))
    swarm = swarm_house.deps.provisioners["swarm"]
    await asyncio.gather(*(swarm.ensure(spec_of(swarm_house.deps, server)) for server in ordered * 3))
    assert services(healthy_swarm) == sorted(server.name for server in ordered)
    assert len(healthy_swarm.manager.docker("secret", "ls", "--quiet").split()) == 3


async def test_08_and_09_settings_apply_and_the_record_names_the_version_that_runs(swarm_house: House) -> None:
    server = await a_pool(swarm_house)
    answer = await allocate(swarm_house.deps, ask("a"), WHO)
    conn = await login(answer)
    assert await conn.fetchval("SHOW max_connections") == spec_of(swarm_house.deps, server).settings["max_connections"]
    assert str(await conn.fetchval("SHOW server_version")).startswith(str(server.postgres_version))
    await conn.close()


async def test_10_data_is_where_it_was_meant_to_be_and_in_no_anonymous_volume(
    healthy_swarm: Lab, swarm_house: House, storage: Path
) -> None:
    server = await a_pool(swarm_house)
    bound = [mount for mount in mounts_of(healthy_swarm, server) if mount["Type"] != "tmpfs"]
    assert [(mount["Type"], mount["Destination"]) for mount in bound] == [("bind", description.MOUNTED_AT)]
    assert (storage / str(server.id) / "pgdata" / "PG_VERSION").read_text() == "18\n"


async def test_11_data_belongs_to_the_account_of_whatever_image_runs(
    healthy_swarm: Lab, swarm_house: House, storage: Path
) -> None:
    as_on_alpine = variation(
        healthy_swarm, "dbs-test/other-account:18", "RUN usermod -u 70 postgres && groupmod -g 70 postgres"
    )
    server = await a_pool(swarm_house.with_policy(default_image=as_on_alpine))
    owner = (storage / str(server.id) / "pgdata").stat()
    assert (owner.st_uid, owner.st_gid) == (70, 70)


async def test_12_a_container_that_runs_is_not_a_server_that_serves(healthy_swarm: Lab, swarm_house: House) -> None:
    asleep = variation(healthy_swarm, "dbs-test/asleep:18", 'ENTRYPOINT ["sleep", "999"]', "CMD []")
    house = swarm_house.with_policy(default_image=asleep)
    server = await order_pool(house.deps, WHO)
    swarm = house.deps.provisioners["swarm"]
    await swarm.ensure(spec_of(house.deps, server))
    seen = await house.settled(server.id, timedelta(seconds=5))
    assert seen.status in (Status.PROVISIONING, Status.INITIALIZING)
    assert (seen.health, seen.postgres_version) == (Health.UNKNOWN, None)


async def test_13_a_server_that_fell_over_many_times_is_started_again(healthy_swarm: Lab, swarm_house: House) -> None:
    server = await a_pool(swarm_house)
    for _ in range(4):
        await until_probed(swarm_house, server)
        [container] = await one_container(healthy_swarm, server)
        healthy_swarm.manager.docker("kill", container)
    healed = await until_status(swarm_house, server.id, Status.ACTIVE)
    await until_probed(swarm_house, healed)


async def one_container(lab: Lab, server: Server) -> list[str]:
    async with asyncio.timeout(60):
        while not (found := lab.manager.containers(server.name)):  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.05)
    return found


async def until_probed(house: House, server: Server) -> None:
    async with asyncio.timeout(60):
        while not (await house.deps.tenants.probe(admin_of(house.deps, server), timedelta(seconds=2))).ok:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_what_was_changed_to_what_cannot_run_heals_when_the_settings_are_right_again(
    healthy_swarm: Lab, swarm_house: House, storage: Path
) -> None:
    server = await a_pool(swarm_house)
    with swarm_provisioner(healthy_swarm, storage, constraints=("node.labels.role==nobody",)) as mistaken:
        await mistaken.ensure(replace(spec_of(swarm_house.deps, server), made_before=True))
    await until_services_run(healthy_swarm, server, 0)
    ill = await until_health(swarm_house, server, Health.UNHEALTHY)
    assert "without constraint node.labels.role==nobody" in str(ill.health_message)
    await until_health(swarm_house, server, Health.HEALTHY)


async def until_health(house: House, server: Server, health: Health) -> Server:
    """Looked at each time its next look is due."""
    async with asyncio.timeout(60):
        while (looked_at := await house.settled(server.id)).health is not health:
            due_at = looked_at.due_at or house.clock()
            house.clock.forward(max(due_at - house.clock(), timedelta()))
    return looked_at


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the SDK leaves a refused socket open
async def test_an_engine_that_is_away_makes_no_server_ill_that_serves(healthy_swarm: Lab, swarm_house: House) -> None:
    server = await a_pool(swarm_house)
    healthy_swarm.manager.kill_dockerd()
    for _ in range(4):
        swarm_house.clock.forward(swarm_house.deps.policy.health_interval)
        looked_at = await swarm_house.settled(server.id)
    assert (looked_at.status, looked_at.health) == (Status.ACTIVE, Health.HEALTHY)


async def until_services_run(lab: Lab, server: Server, number: int) -> None:
    async with asyncio.timeout(60):
        while len(lab.manager.containers(server.name)) != number:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.05)


async def test_14_nothing_in_between_forgets_a_connection_that_is_idle(healthy_swarm: Lab, swarm_house: House) -> None:
    server = await a_pool(swarm_house)
    mode = healthy_swarm.manager.docker("service", "inspect", "--format", "{{.Spec.EndpointSpec.Mode}}", server.name)
    assert mode == "dnsrr"
    conn = await login(await allocate(swarm_house.deps, ask("a"), WHO))
    assert int(await conn.fetchval("SELECT setting FROM pg_settings WHERE name = 'tcp_keepalives_idle'")) < 900
    await conn.close()


async def test_a_dedicated_server_is_ordered_by_an_allocation_has_its_plans_size_and_goes_with_its_data(
    healthy_swarm: Lab, swarm_house: House, storage: Path
) -> None:
    house = swarm_house.with_policy(allocate_budget=timedelta(seconds=1))
    wanted = ask("shop-1", Tier.PREMIUM)
    assert isinstance(await allocate(house.deps, wanted, WHO), Pending)
    [name] = await until_services(healthy_swarm, house, 1)
    limits = "{{.Spec.TaskTemplate.Resources.Limits.NanoCPUs}} {{.Spec.TaskTemplate.Resources.Limits.MemoryBytes}}"
    assert healthy_swarm.manager.docker("service", "inspect", "--format", limits, name) == f"{2 * 10**9} {4 * GIB}"
    conn = await login(await until_allocated(house, wanted))
    await conn.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await conn.close()

    await release(house.deps, wanted.instance_id, WHO)
    await house.later(timedelta(days=29))
    assert services(healthy_swarm) == [name]
    await undelete(house.deps, wanted.instance_id, WHO)
    conn = await login(await until_allocated(house, wanted))
    assert await conn.fetchval("SELECT answer FROM kept") == 42
    await conn.close()

    await release(house.deps, wanted.instance_id, WHO)
    await house.later(timedelta(days=31))
    assert (services(healthy_swarm), [*storage.glob("*")]) == ([], [])  # noqa: ASYNC240  a folder in memory


async def test_a_dedicated_server_that_is_retired_keeps_its_data_for_the_grace_and_says_until_when(
    healthy_swarm: Lab, swarm_house: House, storage: Path
) -> None:
    server = await provision_dedicated(swarm_house.deps, InstanceId("shop-1"), CustomerId("c-1"), Tier.PREMIUM, WHO)
    await until_status(swarm_house, server.id, Status.ACTIVE)
    await retire(swarm_house.deps, server.id, WHO)
    kept = await swarm_house.settled(server.id, PATIENCE)
    assert (kept.status, kept.health) == (Status.DEPROVISIONING, Health.UNKNOWN)
    assert kept.last_error == f"its data is kept until {kept.keep_data_until:%Y-%m-%d %H:%M} UTC"
    assert healthy_swarm.manager.containers(server.name) == []
    assert (storage / str(server.id) / "pgdata" / "PG_VERSION").exists()

    swarm_house.clock.forward(swarm_house.deps.policy.dedicated_data_grace)
    await until_status(swarm_house, server.id, Status.GONE)
    assert (services(healthy_swarm), [*storage.glob("*")]) == ([], [])  # noqa: ASYNC240  a folder in memory


async def until_services(lab: Lab, house: House, number: int) -> list[str]:
    async with asyncio.timeout(60):
        while len(found := services(lab)) != number:
            await house.until_quiet()
    return found


async def until_allocated(house: House, wanted: Ask) -> Allocation:
    """As a caller who asks again and again, while the sweep goes on."""
    async with asyncio.timeout(60):
        while isinstance(answer := await allocate(house.deps, wanted, WHO), Pending):
            await house.until_quiet()
    return answer
