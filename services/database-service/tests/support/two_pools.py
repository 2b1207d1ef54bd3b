"""Two pools on two real servers, and a database on the first that can go to the second."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from database_service.actions.allocate import allocate
from database_service.actions.credentials import credentials
from database_service.actions.release import release
from database_service.domain.databases import Status
from database_service.domain.ids import InstanceId
from database_service.domain.moves import Move, Phase
from database_service.domain.operations import Operation
from database_service.domain.plans import Tier
from database_service.domain.policy import Policy
from database_service.domain.servers import Server
from database_service.provisioners.process import ProcessProvisioner
from database_service.provisioners.runtime import PostgresRuntime
from database_service.reconcilers import operations as operation_steps
from database_service.store import moves
from support.cluster import Cluster
from support.house import POLICY, WHO, House, ask, login, open_house
from support.invariants import World, assert_sound, look_at

A = InstanceId("a")
ROWS = 1000
PATIENT = replace(POLICY, pool_memory_bytes=128 * 1024**2, move_drain=timedelta(seconds=0.5))
BRIEF = replace(
    PATIENT, lease=timedelta(seconds=3),
    effect_timeout=timedelta(seconds=2), move_attempts=100, backoff_most=timedelta(seconds=1),
)  # fmt: skip
"""Leases so short that a killed worker is missed soon."""


class Two:
    """A house with a pool on each of two real servers, and a database on the first that holds something."""

    def __init__(
        self, house: House, first: Server, second: Server, other: Cluster, worlds: tuple[World, World]
    ) -> None:
        self.house, self.first, self.second, self.other, self.worlds = house, first, second, other, worlds

    async def moved(self, operation: Operation) -> Move:
        async with self.house.deps.db.connection() as conn:
            [found] = await moves.of_operation(conn, operation.id)
        return found

    async def rows(self) -> int:
        """As its user sees it now."""
        conn = await login(await credentials(self.house.deps, A, WHO))
        count: int = await conn.fetchval("SELECT count(*) FROM orders")
        await conn.close()
        return count

    async def is_on(self, server: Server) -> bool:
        database = await self.house.database(A)
        return database.status is Status.READY and database.server_id == server.id

    async def until(self, phase: Phase, operation: Operation) -> None:
        """Move by move, until it is there."""
        async with asyncio.timeout(60):
            while (await self.moved(operation)).phase is not phase:
                await operation_steps.step(self.house.deps, operation.id)

    async def sound(self) -> None:
        await self.house.until_quiet()
        await assert_sound(self.house, self.worlds[0], (self.other, self.worlds[1]))


@asynccontextmanager
async def open_two(
    control_dsn: str,
    tenant_cluster: Cluster,
    other_cluster: Cluster,
    runtime: PostgresRuntime,
    home: Path,
    policy: Policy = PATIENT,
) -> AsyncIterator[Two]:
    """`home` is where dedicated servers are made; who opens it stops them."""
    worlds = (await look_at(tenant_cluster), await look_at(other_cluster))
    provisioner = ProcessProvisioner(runtime, runtime.reachable_home(home))
    async with open_house(control_dsn, tenant_cluster, policy, {"process": provisioner}) as house:
        first = await house.pool(3)
        allocated = await allocate(house.deps, ask(A, Tier.STARTER), WHO)
        conn = await login(allocated)
        await conn.execute("CREATE TABLE orders (id int PRIMARY KEY, what text NOT NULL)")
        await conn.execute(f"INSERT INTO orders SELECT g, 'order ' || g FROM generate_series(1, {ROWS}) g")
        await conn.close()
        second = await house.pool(3, other_cluster)
        yield Two(house, first, second, other_cluster, worlds)
        await _emptied(house)


async def _emptied(house: House) -> None:
    """Nothing of this house stays on clusters that other tests use."""
    async with house.deps.db.connection() as conn:
        instances = [
            row[0]
            for row in await conn.fetch(
                "SELECT instance_id FROM databases WHERE instance_id IS NOT NULL AND status <> 'purged'"
            )
        ]
    for instance in instances:
        await release(house.deps, InstanceId(instance), WHO)
    await house.later(timedelta(days=40))
