"""Drift on a real Swarm: services, secrets, volumes and directories that carry our label and have no row."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from database_service.actions.order_server import order_pool
from database_service.domain.drift import Kind, State
from database_service.domain.servers import Status
from database_service.provisioners.swarm.provisioner import SwarmProvisioner
from database_service.reconcilers.drift import find_drift, remove_confirmed
from reconcilers.test_drift import GRACE, confirmed, found, one, only, past_its_grace, unlooked
from support.cluster import Cluster
from support.house import POLICY, WHO, open_house
from support.strays import Yard
from support.swarm_lab import Lab
from support.swarm_servers import MIB, shared_storage, swarm_provisioner, swarm_spec, until_it_runs

pytestmark = pytest.mark.docker

POLICY_HERE = replace(POLICY, pool_memory_bytes=192 * MIB, pool_cpu=1, default_provisioner="swarm")


@asynccontextmanager
async def a_yard(
    lab: Lab, dsn: str, tenant: Cluster, image: str, shared: Path | None
) -> AsyncIterator[tuple[Yard, SwarmProvisioner]]:
    policy = replace(POLICY_HERE, default_image=image)
    with swarm_provisioner(lab, shared) as swarm:
        async with open_house(dsn, tenant, policy, {"swarm": swarm}) as house:
            yield Yard(house, lab.folder, None), swarm  # type: ignore[arg-type]


@pytest.mark.parametrize("shared", [True, False], ids=["shared storage", "volumes"])
async def test_a_stray_server_is_found_with_all_there_is_of_it_and_removed_when_confirmed(
    healthy_swarm: Lab, control_dsn: str, tenant_cluster: Cluster, postgres_image: str, shared: bool
) -> None:
    storage = shared_storage(healthy_swarm) if shared else None
    async with a_yard(healthy_swarm, control_dsn, tenant_cluster, postgres_image, storage) as (yard, swarm):
        pool = await order_pool(yard.house.deps, WHO, max_instances=5)
        assert (await yard.house.settled(pool.id)).status is Status.ACTIVE
        assert await found(yard) == {}
        stray = swarm_spec(postgres_image)
        await swarm.ensure(stray)
        await until_it_runs(swarm, stray)
        drift = await only(yard)
        kinds = [told.split()[0] for told in drift.finding.told]
        assert kinds == ["service", "secret", "directory" if shared else "volume"]
        await past_its_grace(yard)
        await confirmed(yard, drift)
        await remove_confirmed(yard.house.deps)
        assert (await one(yard, drift.id)).state is State.REMOVED
        assert [thing.id for thing in await swarm.list_ours()] == [pool.id]
        assert await found(yard) == {}


async def test_a_secret_that_was_left_behind_is_found_and_removed(
    healthy_swarm: Lab, control_dsn: str, tenant_cluster: Cluster, postgres_image: str
) -> None:
    async with a_yard(healthy_swarm, control_dsn, tenant_cluster, postgres_image, None) as (yard, swarm):
        stray = swarm_spec(postgres_image)
        await swarm.ensure(stray)
        healthy_swarm.manager.docker("service", "rm", stray.name)
        healthy_swarm.manager.docker("secret", "create", "theirs", "/etc/hostname")
        drift = await only(yard)
        assert drift.finding.told[0].startswith("secret ")
        yard.house.clock.forward(GRACE)
        drift = await only(yard)
        await confirmed(yard, drift)
        for _ in range(5):  # containers that ended may hold a volume for a while
            await remove_confirmed(yard.house.deps)
            yard.house.clock.forward(timedelta(minutes=6))
        assert (await one(yard, drift.id)).state is State.REMOVED, await one(yard, drift.id)
        assert healthy_swarm.manager.docker("secret", "ls", "--format", "{{.Name}}").split() == ["theirs"]


async def test_a_docker_that_does_not_answer_is_said_and_accuses_nobody(
    healthy_swarm: Lab, control_dsn: str, tenant_cluster: Cluster, postgres_image: str
) -> None:
    async with a_yard(healthy_swarm, control_dsn, tenant_cluster, postgres_image, None) as (yard, swarm):
        await swarm.ensure(swarm_spec(postgres_image))
        assert len(await found(yard)) == 1
    with swarm_provisioner(healthy_swarm, Path("/nowhere")) as blind:
        async with open_house(control_dsn, tenant_cluster, POLICY_HERE, {"swarm": blind}) as house:
            yard = Yard(house, Path("/nowhere"), None)  # type: ignore[arg-type]
            await find_drift(house.deps)
            assert [kind for kind, _ in await yard.there()] == [Kind.SERVER_WITHOUT_ROW]
            assert list(await unlooked(yard)) == ["provisioner swarm"]
