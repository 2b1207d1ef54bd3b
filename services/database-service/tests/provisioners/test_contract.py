"""What every provisioner promises, over all of them."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import asyncpg
import pytest

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.ids import ServerId
from database_service.domain.servers import Address, Presence, ServerSpec
from database_service.provisioners.base import Provisioner
from database_service.provisioners.external import ExternalProvisioner
from database_service.provisioners.process import ProcessProvisioner
from database_service.provisioners.swarm.provisioner import SwarmProvisioner
from support.cluster import Cluster, free_port
from support.local_servers import a_spec, address_of, dsn_of
from support.login import until_login
from support.swarm_lab import Lab
from support.swarm_servers import shared_storage, swarm_provisioner, swarm_spec


class World(Protocol):
    """A provisioner, and what can befall its servers behind its back."""

    provisioner: Provisioner

    def order(self) -> ServerSpec: ...
    async def halt(self, spec: ServerSpec) -> None: ...
    def hide(self, spec: ServerSpec) -> None: ...


@dataclass
class LocalWorld:
    provisioner: ProcessProvisioner
    home: Path

    def order(self) -> ServerSpec:
        return a_spec()

    async def halt(self, spec: ServerSpec) -> None:
        await self.provisioner.remove(spec.id, keep_data=True)

    def hide(self, spec: ServerSpec) -> None:
        """As a disk that is gone."""
        identity = self.home / str(spec.id) / "identity.json"
        identity.unlink()
        identity.mkdir()


@dataclass
class ForeignWorld:
    theirs: Cluster
    addresses: dict[ServerId, Address] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.provisioner = ExternalProvisioner(self._address_of)

    async def _address_of(self, server_id: ServerId) -> Address | None:
        return self.addresses.get(server_id)

    def order(self) -> ServerSpec:
        spec = replace(a_spec(), admin_user=self.theirs.superuser, admin_password=self.theirs.password)
        self.addresses[spec.id] = Address(self.theirs.host, self.theirs.port)
        return spec

    async def halt(self, spec: ServerSpec) -> None:
        self.addresses[spec.id] = Address("127.0.0.1", free_port())

    def hide(self, spec: ServerSpec) -> None:
        self.addresses[spec.id] = Address("nobody-has-this-name.invalid", 5432)


ON_SWARM = (
    pytest.mark.docker,
    # Docker's SDK leaves the socket open that an engine refused.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
)


@dataclass
class SwarmWorld:
    provisioner: SwarmProvisioner
    lab: Lab
    image: str

    def order(self) -> ServerSpec:
        return replace(swarm_spec(self.image), settings=a_spec().settings)

    async def halt(self, spec: ServerSpec) -> None:
        await self.provisioner.remove(spec.id, keep_data=True)

    def hide(self, spec: ServerSpec) -> None:
        """As an engine that is gone."""
        self.lab.manager.kill_dockerd()


@pytest.fixture(
    params=[
        "process",
        "external",
        pytest.param("swarm", marks=ON_SWARM),
        pytest.param("swarm volumes", marks=ON_SWARM),
    ]
)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "process":
        yield LocalWorld(request.getfixturevalue("local"), request.getfixturevalue("home"))
    elif request.param == "external":
        yield ForeignWorld(request.getfixturevalue("tenant_cluster"))
    else:
        lab: Lab = request.getfixturevalue("healthy_swarm")
        shared = shared_storage(lab) if request.param == "swarm" else None
        with swarm_provisioner(lab, shared) as provisioner:
            yield SwarmWorld(provisioner, lab, request.getfixturevalue("postgres_image"))


async def system_of(provisioner: Provisioner, spec: ServerSpec) -> int:
    """The number initdb gave to the server's data: the same number is the same data."""
    await until_running(provisioner, spec)
    dsn = dsn_of(spec, await address_of(provisioner, spec))
    await until_login(dsn)
    conn = await asyncpg.connect(dsn)
    try:
        number: int = await conn.fetchval("SELECT system_identifier FROM pg_control_system()")
        return number
    finally:
        await conn.close()


async def until_running(provisioner: Provisioner, spec: ServerSpec) -> None:
    async with asyncio.timeout(30):
        while (await provisioner.observe(spec.id)).presence is not Presence.RUNNING:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.05)


async def setting_of(provisioner: Provisioner, spec: ServerSpec, name: str) -> object:
    conn = await asyncpg.connect(dsn_of(spec, await address_of(provisioner, spec)))
    try:
        return await conn.fetchval("SELECT current_setting($1)", name)
    finally:
        await conn.close()


async def test_a_server_that_nobody_made_is_absent(world: World) -> None:
    assert (await world.provisioner.observe(ServerId(uuid4()))).presence is Presence.ABSENT


async def test_an_ensured_server_lets_its_administrator_in_with_the_password_of_the_spec(world: World) -> None:
    spec = world.order()
    await world.provisioner.ensure(spec)
    assert await system_of(world.provisioner, spec)


async def test_ensuring_a_server_again_changes_nothing(world: World) -> None:
    spec = world.order()
    await world.provisioner.ensure(spec)
    system, address = await system_of(world.provisioner, spec), await address_of(world.provisioner, spec)
    await world.provisioner.ensure(spec)
    assert await address_of(world.provisioner, spec) == address
    assert await system_of(world.provisioner, spec) == system


async def test_a_server_that_does_not_run_is_stopped_and_says_why(world: World) -> None:
    spec = world.order()
    await world.provisioner.ensure(spec)
    await world.halt(spec)
    seen = await world.provisioner.observe(spec.id)
    assert seen.presence is Presence.STOPPED
    assert seen.why


async def test_a_server_that_cannot_be_looked_at_is_unknown_and_not_absent(world: World) -> None:
    spec = world.order()
    await world.provisioner.ensure(spec)
    await world.halt(spec)
    world.hide(spec)
    seen = await world.provisioner.observe(spec.id)
    assert seen.presence is Presence.UNKNOWN
    assert seen.why


async def test_a_server_that_cannot_be_looked_at_is_not_made_anew(world: World) -> None:
    spec = world.order()
    await world.provisioner.ensure(spec)
    await world.halt(spec)
    world.hide(spec)
    with pytest.raises(ProvisioningFailed, match=spec.name):
        await world.provisioner.ensure(spec)


@pytest.mark.parametrize("keep_data", [True, False])
async def test_removing_what_is_not_there_is_success(world: World, keep_data: bool) -> None:
    await world.provisioner.remove(ServerId(uuid4()), keep_data=keep_data)


async def test_removing_a_server_twice_is_success(world: World) -> None:
    spec = world.order()
    await world.provisioner.ensure(spec)
    await world.provisioner.remove(spec.id, keep_data=False)
    await world.provisioner.remove(spec.id, keep_data=False)


async def test_data_that_is_kept_is_there_when_the_server_runs_again(world: World) -> None:
    spec = world.order()
    await world.provisioner.ensure(spec)
    system = await system_of(world.provisioner, spec)
    await world.provisioner.remove(spec.id, keep_data=True)
    await world.provisioner.ensure(spec)
    assert await system_of(world.provisioner, spec) == system


async def test_one_server_is_removed_and_the_others_stay(world: World) -> None:
    going, staying = world.order(), world.order()
    await world.provisioner.ensure(going)
    await world.provisioner.ensure(staying)
    await world.provisioner.remove(going.id, keep_data=False)
    assert await system_of(world.provisioner, staying)


async def test_a_server_that_is_as_its_spec_says_differs_in_nothing(world: World) -> None:
    spec = world.order()
    await world.provisioner.ensure(spec)
    await system_of(world.provisioner, spec)
    assert list(await world.provisioner.differences(spec)) == []


async def test_a_server_that_nobody_made_differs_in_nothing(world: World) -> None:
    assert list(await world.provisioner.differences(world.order())) == []


async def test_a_server_that_runs_otherwise_is_told_and_changed(world: World) -> None:
    if isinstance(world, ForeignWorld):
        return  # how it is set up is its owner's business
    spec = world.order()
    await world.provisioner.ensure(spec)
    system = await system_of(world.provisioner, spec)
    wider = replace(spec, settings={**spec.settings, "max_connections": "27"})
    [told] = await world.provisioner.differences(wider)
    assert told == "max_connections is 20 and should be 27"
    await world.provisioner.ensure(wider)
    assert await system_of(world.provisioner, wider) == system
    assert await setting_of(world.provisioner, wider, "max_connections") == "27"
    assert list(await world.provisioner.differences(wider)) == []


async def test_only_what_carries_our_label_is_listed(world: World, home: Path) -> None:
    (home / "somebody-elses").mkdir()
    spec = world.order()
    await world.provisioner.ensure(spec)
    ours = [] if isinstance(world.provisioner, ExternalProvisioner) else [spec.id]
    assert [found.id for found in await world.provisioner.list_ours()] == ours


async def test_what_is_to_be_remembered_of_a_server_is_told_with_it_and_disturbs_nobody(world: World) -> None:
    spec = world.order()
    await world.provisioner.ensure(spec)
    assert await system_of(world.provisioner, spec)
    conn = await asyncpg.connect(dsn_of(spec, await address_of(world.provisioner, spec)))
    for text in ('{"name": "first"}', '{"name": "a second"}'):
        await world.provisioner.remember(spec.id, text)
        told = [found.remembered for found in await world.provisioner.list_ours() if found.id == spec.id]
        assert told in ([text], [])  # what somebody else runs is not listed
    await world.provisioner.ensure(spec)
    assert told == [found.remembered for found in await world.provisioner.list_ours() if found.id == spec.id]
    assert await conn.fetchval("SELECT 1") == 1
    await conn.close()


async def test_what_is_not_there_is_not_made_to_be_remembered(world: World) -> None:
    stranger = ServerId(uuid4())
    await world.provisioner.remember(stranger, "{}")
    assert [found for found in await world.provisioner.list_ours() if found.id == stranger] == []
