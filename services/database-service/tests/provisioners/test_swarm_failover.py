"""A machine of the Swarm dies under a server that is being written to: no committed row is lost, and never do two servers
have one server's data, whatever Swarm believes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from database_service.domain.servers import Presence, ServerSpec
from database_service.provisioners.swarm.engine import Engine
from database_service.provisioners.swarm.options import Options
from database_service.provisioners.swarm.provisioner import SwarmProvisioner
from support.local_servers import a_spec, dsn_of
from support.login import until_login
from support.machines import Machine, Refused, until
from support.swarm_lab import Lab
from support.writers import TABLE, writing

pytestmark = pytest.mark.docker

SOON_S = 60
WHERE_DATA_GOES = ("node.labels.role==database", "node.role==worker")
OURS = "/var/lib/postgresql"
REFUSED = "75"
"""What the image exits with where another server has the data."""


@pytest.fixture
def storage(healthy_swarm: Lab) -> Path:
    """A folder that all machines see."""
    healthy_swarm.workers(2)
    folder = healthy_swarm.folder / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def swarm(healthy_swarm: Lab, storage: Path) -> Iterator[SwarmProvisioner]:
    engine = Engine.at(healthy_swarm.manager.url, "failover")
    options = Options(plane="failover", publish=True, pools_dir=storage, constraints=WHERE_DATA_GOES)
    provisioner = SwarmProvisioner(engine, options)
    yield provisioner
    provisioner.close()
    engine.client.close()


@pytest.fixture
def spec(postgres_image: str) -> ServerSpec:
    return replace(a_spec(), image=postgres_image)


# -- a machine is lost -------------------------------------------------------------------------------------------------


async def test_a_server_whose_machine_is_lost_comes_back_on_the_other_with_every_committed_row(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, record_property: Callable[[str, object], None]
) -> None:
    lab, (first, second) = healthy_swarm, healthy_swarm.workers(2)
    where = at(swarm, spec)
    await begun(swarm, spec, where)
    async with writing(where) as writers:
        for _ in range(2):
            await writers.until_acknowledged(500)
            (place,) = lab.places(spec.name)
            await asyncio.to_thread(place.lose)
            seconds = await writers.until_acknowledged(1)
            await asyncio.to_thread(lab.until_at, spec.name, second if place is first else first)
            assert await writers.lost(await where() or "") == set()
            told = f"{place.name} lost, {len(writers.acknowledged)} rows kept: written to again after {seconds:.1f} s"
            record_property("recovery", told)
            await asyncio.to_thread(lab.heal_all)


@pytest.mark.parametrize("trouble", ["kill_dockerd", "cut"])
async def test_a_server_that_lives_on_unseen_keeps_its_data_until_it_is_gone(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, trouble: str
) -> None:
    lab, (first, second) = healthy_swarm, healthy_swarm.workers(2)
    await begun(swarm, spec, at(swarm, spec))
    lab.manager.docker("service", "update", "--quiet", "--env-add", "DBS_LOCK_PATIENCE=1", spec.name)
    address = await at(swarm, spec)()
    (place,) = lab.places(spec.name)
    other = second if place is first else first
    assert address

    async def trouble_and_a_second_one() -> None:
        await asyncio.to_thread(getattr(place, trouble))
        await asyncio.to_thread(refused_twice, lab, spec.name, other)

    async with writing(always(address)) as writers:
        await writers.until_acknowledged(500)
        if trouble == "kill_dockerd":
            await trouble_and_a_second_one()
            await writers.until_acknowledged(500)
    if trouble == "cut":  # nobody can write to it then
        await trouble_and_a_second_one()
    await asyncio.to_thread(place.lose)
    found = await known(at(swarm, spec), otherwise_than=address)
    await until_login(found)
    await asyncio.to_thread(lab.until_at, spec.name, other)
    assert await writers.lost(found) == set()


def refused_twice(lab: Lab, service: str, machine: Machine) -> None:
    """Return once a server has twice refused to start there because another has its data."""
    asked = ("service", "ps", "--no-trunc", "--filter", f"node={machine.name}", "--format", "{{.Error}}", service)
    until(lambda: lab.manager.docker(*asked).count(f"({REFUSED})") >= 2, SOON_S, "Swarm starts no second one")


def at(swarm: SwarmProvisioner, spec: ServerSpec) -> Callable[[], Awaitable[str | None]]:
    """Where it is now, as whoever asks the control plane would learn."""

    async def where() -> str | None:
        seen = await swarm.observe(spec.id)
        return dsn_of(spec, seen.address) if seen.presence is Presence.RUNNING and seen.address else None

    return where


def always(dsn: str) -> Callable[[], Awaitable[str | None]]:
    async def where() -> str | None:
        return dsn

    return where


async def known(where: Callable[[], Awaitable[str | None]], otherwise_than: str | None = None) -> str:
    """Where it is, as soon as that is known."""
    async with asyncio.timeout(SOON_S):
        while (dsn := await where()) in (None, otherwise_than):  # noqa: ASYNC110  the Swarm tells of no change
            await asyncio.sleep(0.05)
    assert dsn
    return dsn


async def begun(swarm: SwarmProvisioner, spec: ServerSpec, where: Callable[[], Awaitable[str | None]]) -> None:
    """It is ordered and answers, and can be written to."""
    await swarm.ensure(spec)
    await prepared(await known(where))


async def prepared(dsn: str) -> None:
    """It has a table for what is written."""
    await until_login(dsn)
    conn = await asyncpg.connect(dsn)
    await conn.execute(TABLE)
    await conn.close()


# -- two are started on purpose ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_is", ["awake", "frozen"])
async def test_of_two_servers_started_on_the_same_data_the_second_refuses_until_the_first_is_gone(
    healthy_swarm: Lab, storage: Path, postgres_image: str, first_is: str
) -> None:
    place = storage / f"twice-{first_is}"
    place.mkdir()
    here, there = healthy_swarm.workers(2)
    first = started(here, place, postgres_image)
    await prepared(dsn_at(here))
    async with writing(always(dsn_at(here))) as writers:
        await writers.until_acknowledged(300)
        if first_is == "frozen":
            freeze(here, first)
        second = started(there, place, postgres_image)
        assert there.docker("wait", second) == REFUSED
        if first_is == "awake":
            await writers.until_acknowledged(300)
        here.docker("kill", first)
    there.docker("start", second)
    await until_login(dsn_at(there))
    assert await writers.lost(dsn_at(there)) == set()


def started(machine: Machine, place: Path, image: str) -> str:
    """By hand, with the official image's variables."""
    return machine.docker(
        "run", "--detach", "--publish", "5432:5432", "--volume", f"{place}:{OURS}",
        "--env", "POSTGRES_HOST_AUTH_METHOD=trust", "--env", "DBS_LOCK_PATIENCE=1", image,
    )  # fmt: skip


def dsn_at(machine: Machine) -> str:
    return f"postgresql://postgres@{machine.address}:5432/postgres"


def freeze(machine: Machine, container: str) -> None:
    """Every process in it, as a machine that hangs would. Those of a health check may be over before."""
    _, *pids = machine.docker("top", container, "-eo", "pid").split()
    with suppress(Refused):
        machine.run("kill", "-STOP", *pids)
    assert machine.run("ps", "-o", "stat=", "-p", pids[0]).startswith("T")
