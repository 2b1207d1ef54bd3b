"""House: instance-service without its doors, over a real database of its own, between two worlds that tests command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import asyncpg

from instance_service.broker.nudge import Silent
from instance_service.deps import Deps
from instance_service.domain.ids import CustomerId, InstanceId, Who
from instance_service.domain.instances import Ask, Instance, Status
from instance_service.domain.plans import Tier
from instance_service.domain.policy import Policy
from instance_service.reconcilers.sweep import sweep
from instance_service.store import instances
from instance_service.store.changes import Changes
from instance_service.store.pool import Connect, Db, open_pool
from instance_support.worlds import FakeDatabases, FakeWorkloads
from support.clock import Clock

WHO = Who("tests", "req-1")

_numbers = count(1)

TRACE = "SELECT after FROM events WHERE instance_id = $1 ORDER BY id"
MOST_PASSES = 60


def ask(name: str | None = None, **more: Any) -> Ask:
    """What a caller would ask for, under a name of its own unless named."""
    wanted: dict[str, Any] = {"plan_tier": Tier.FREE, "image": None, "command": (), "env": {}} | more
    return Ask(name or f"todo-{next(_numbers)}", CustomerId(wanted.pop("customer", "c-1")), **wanted)


@dataclass
class House:
    """Deps and what tests say about them."""

    deps: Deps
    clock: Clock
    databases: FakeDatabases
    workloads: FakeWorkloads

    async def instance(self, instance_id: InstanceId) -> Instance:
        async with self.deps.db.connection() as conn:
            found = await instances.get(conn, instance_id)
        assert found
        return found

    async def status(self, instance_id: InstanceId) -> Status:
        return (await self.instance(instance_id)).status

    async def until(self, instance_id: InstanceId, *statuses: Status) -> Instance:
        """Sweep, letting time pass, until it is in one of these."""
        for _ in range(MOST_PASSES):
            instance = await self.instance(instance_id)
            if instance.status in statuses:
                return instance
            self.clock.forward(timedelta(seconds=2))
            await sweep(self.deps)
        raise AssertionError(f"it is {instance.status}: {instance.last_error}")

    async def pass_time(self, span: timedelta) -> None:
        """Let this much time pass in strides of a few seconds, sweeping."""
        end = self.clock() + span
        while self.clock() < end:
            self.clock.forward(min(timedelta(seconds=5), span))
            await sweep(self.deps)

    async def trace(self, instance_id: InstanceId) -> list[str]:
        """Its states, in their order, each once in a row."""
        async with self.deps.db.connection() as conn:
            states = [row["after"] for row in await conn.fetch(TRACE, instance_id)]
        return [state for before, state in zip([None, *states], states, strict=False) if state != before]


def policy(**changes: Any) -> Policy:
    return replace(Policy(long_poll=timedelta(), follow=timedelta(seconds=20)), **changes)


def connect_to(dsn: str) -> Connect:
    """Our own database, where it is known beforehand."""

    async def connect(*_: Any, **options: Any) -> "asyncpg.Connection[Any]":
        return await asyncpg.connect(dsn, **options)

    return connect


PATIENT = partial(Db, acquire_timeout_s=30)
"""A busy machine is not a database that is away."""


@asynccontextmanager
async def open_house(
    dsn: str,
    clock: Clock | None = None,
    databases: FakeDatabases | None = None,
    workloads: FakeWorkloads | None = None,
    make_db: Any = PATIENT,
    **numbers: Any,
) -> AsyncIterator[House]:
    clock, databases, workloads = clock or Clock(), databases or FakeDatabases(), workloads or FakeWorkloads()
    connect = connect_to(dsn)
    pool = await open_pool(connect, most=8, application="tests")
    try:
        async with Changes(connect) as changes:
            deps = Deps(make_db(pool), databases, workloads, Silent(), changes, clock, policy(**numbers))
            yield House(deps, clock, databases, workloads)
    finally:
        await pool.close()
