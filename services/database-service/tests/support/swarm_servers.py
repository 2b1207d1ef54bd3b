"""Servers in the Swarm lab: provisioners over it, specs for it, and what becomes of them."""

import asyncio
import gc
import re
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from database_service.actions.order_server import order_pool
from database_service.domain import sizing
from database_service.domain.servers import Presence, Seen, Server, ServerSpec, Status
from database_service.provisioners.swarm.engine import Engine, Hands
from database_service.provisioners.swarm.options import Options
from database_service.provisioners.swarm.provisioner import SwarmProvisioner
from support.clock import Clock
from support.cluster import Cluster
from support.house import POLICY, WHO, House, open_house
from support.lab_images import POSTGRES
from support.local_servers import a_spec, address_of, dsn_of
from support.login import until_login
from support.machines import Machine
from support.swarm_lab import Lab

MIB = 1024 * 1024
PLANE = "tests"
CONSTRAINTS = ("node.labels.role==database", "node.role==manager")
"""Other tests' workers may still be there; what these look at is on the manager."""
WITHIN_S = 60.0
"""Within a minute every trouble has its own clear error, and heals when its cause goes."""
PAUSE_S = 0.05


def swarm_spec(image: str, memory: int = 192 * MIB, **settings: str) -> ServerSpec:
    """A small server with the settings that its size really gets."""
    computed = sizing.postgres_settings(slots=5, memory_bytes=memory, cpu=1)
    return replace(a_spec(), image=image, settings=computed | settings, memory_limit=memory)


@contextmanager
def swarm_provisioner(
    lab: Lab, shared: Path | None, hands: Callable[[Engine], Hands] = Hands, **more: object
) -> Iterator[SwarmProvisioner]:
    """Servers that are reached at ports of the lab's machines; on `shared` storage, or in volumes of the manager."""
    stand: dict[str, Any] = {"constraints": CONSTRAINTS} | more
    options = Options(plane=PLANE, publish=True, pools_dir=shared, image=POSTGRES, **stand)
    engine = Engine.at(lab.manager.url, PLANE)
    provisioner = SwarmProvisioner(engine, options, hands(engine))
    try:
        yield provisioner
    finally:
        provisioner.close()
        engine.client.close()
        collect_refused_sockets()


def collect_refused_sockets() -> None:
    """Docker's SDK leaves a socket open that an engine refused; a later test must not be told of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@asynccontextmanager
async def open_swarm_house(
    lab: Lab,
    control_dsn: str,
    tenant: Cluster,
    image: str,
    shared: Path | None,
    clock: Clock | None = None,
    hands: Callable[[Engine], Hands] = Hands,
) -> AsyncIterator[House]:
    """A house whose servers are services of the lab's Swarm."""
    policy = replace(POLICY, pool_memory_bytes=192 * MIB, pool_cpu=1, default_provisioner="swarm", default_image=image)
    with swarm_provisioner(lab, shared, hands) as provisioner:
        async with open_house(control_dsn, tenant, policy, {"swarm": provisioner}, clock) as house:
            yield house


async def a_pool(house: House) -> Server:
    """A small one that serves."""
    server = await order_pool(house.deps, WHO, max_instances=3)
    settled = await house.settled(server.id, timedelta(seconds=60))
    assert settled.status is Status.ACTIVE, settled.last_error
    return settled


def shared_storage(lab: Lab) -> Path:
    """A folder of its own that every machine of the lab sees."""
    folder = lab.folder / f"pools-{uuid4().hex[:8]}"
    folder.mkdir(mode=0o755)
    return folder


def variation(lab: Lab, tag: str, *lines: str) -> str:
    """Our image with something else about it."""
    context = lab.folder / tag.replace(":", "-").replace("/", "-")
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text("\n".join([f"FROM {POSTGRES}", *lines, ""]))
    lab.build(context, tag)
    return tag


async def until_seen(provisioner: SwarmProvisioner, spec: ServerSpec, presence: Presence, told: str = "") -> Seen:
    """What is seen once it is so and says so; AssertionError with the last look after a minute."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            seen = await provisioner.observe(spec.id)
            if seen.presence is presence and re.search(told, seen.why):
                return seen
            last = seen
            try:
                await asyncio.sleep(PAUSE_S)
            except asyncio.CancelledError:
                raise AssertionError(f"not {presence} with “{told}” within {WITHIN_S:.0f} s, but {last}") from None


async def until_it_runs(provisioner: SwarmProvisioner, spec: ServerSpec) -> None:
    """It lets its administrator in. What is told of a server that is just being started again may be of the one before."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            seen = await until_seen(provisioner, spec, Presence.RUNNING)
            assert seen.address
            with suppress(TimeoutError):
                return await until_login(dsn_of(spec, seen.address), within_s=1)


@asynccontextmanager
async def admin_of(
    provisioner: SwarmProvisioner, spec: ServerSpec
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    conn = await asyncpg.connect(dsn_of(spec, await address_of(provisioner, spec)))
    try:
        yield conn
    finally:
        await conn.close()


@contextmanager
def hidden(machine: Machine, path: str, size: str = "size=300m") -> Iterator[None]:
    """Something else is mounted there on this machine: empty, and of its own size."""
    machine.run("mount", "-t", "tmpfs", "-o", size, "tmpfs", path)
    try:
        yield
    finally:
        machine.run("umount", "--lazy", path)
