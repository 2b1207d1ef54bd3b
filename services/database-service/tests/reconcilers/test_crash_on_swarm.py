"""The worker is killed with SIGKILL at every effect on the Swarm, and another one takes over: nothing is there twice, nothing
is left.

At which of them a run kills, support.faults says. The deaths at commits and at statements on tenant servers are those of
test_crash_at_every_effect; here each life is a process of its own that really dies, beside services, secrets, volumes and
directories that are really there.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from database_service.actions.order_server import order_pool
from database_service.actions.retire_server import retire
from database_service.domain.servers import Status
from database_service.provisioners.swarm.engine import Engine, Hands
from support.clock import Clock
from support.cluster import Cluster, execute
from support.faults import moments
from support.house import EMPTY, WHO, House
from support.local_servers import in_child
from support.swarm_lab import Lab
from support.swarm_servers import open_swarm_house, shared_storage

pytestmark = pytest.mark.docker

Do = Callable[[House], Awaitable[None]]

ACTS = (
    "make_place", "create_secret", "create_service", "update_service", "remove_service", "remove_secret", "remove_volume",
    "clear_place",
)  # fmt: skip
AFTER_ANY_LEASE = timedelta(minutes=6)
PATIENCE = timedelta(seconds=60)


class FragileHands:
    """Hands whose worker is killed right before (odd numbers) or right after (even ones) an act; 0 only counts."""

    def __init__(self, engine: Engine, deadly: int) -> None:
        self._hands = Hands(engine)
        self._deadly = deadly
        self.moments = 0

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._hands, name)
        return partial(self._fragile, act) if name in ACTS else act

    def _fragile(self, act: Callable[..., object], *args: object) -> object:
        self._moment()
        result = act(*args)
        self._moment()
        return result

    def _moment(self) -> None:
        self.moments += 1
        if self.moments == self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Stage:
    """One Swarm, one control database, and houses over both, each a worker's life."""

    lab: Lab
    dsn: str
    tenant: Cluster
    image: str
    shared: Path | None

    @asynccontextmanager
    async def house(self, clock: Clock, deadly: int = 0) -> AsyncIterator[tuple[House, FragileHands]]:
        fragile: list[FragileHands] = []

        def hands(engine: Engine) -> Hands:
            fragile.append(FragileHands(engine, deadly))
            return cast("Hands", fragile[0])

        opened = open_swarm_house(self.lab, self.dsn, self.tenant, self.image, self.shared, clock, hands)
        async with opened as house:
            yield house, fragile[0]

    async def life(self, deadly: int, prepare: Do, act: Do) -> int:
        """Prepared in safety; then the act, during which it may be killed. Returns how many moments it had."""
        clock = Clock()
        async with self.house(clock) as (house, _):
            await prepare(house)
        async with self.house(clock, deadly) as (house, hands):
            await act(house)
            return hands.moments

    async def afterlife(self, act: Do, check: Do) -> None:
        clock = Clock()
        clock.forward(AFTER_ANY_LEASE)
        async with self.house(clock) as (house, _):
            await act(house)
            await check(house)

    def clear(self) -> None:
        asyncio.run(execute(self.dsn, EMPTY))
        self.lab.clear()
        for directory in self.directories():
            shutil.rmtree(directory)

    def things(self, kind: str) -> list[str]:
        return self.lab.manager.docker(kind, "ls", "--quiet").split()

    def directories(self) -> list[Path]:
        return list(self.shared.iterdir()) if self.shared else []


async def nothing(_: House) -> None:
    pass


async def order(house: House) -> None:
    server = await order_pool(house.deps, WHO, max_instances=2, request_key="order-1")
    await house.settled(server.id, PATIENCE)


async def retire_all(house: House) -> None:
    async with house.deps.db.connection() as conn:
        found = await conn.fetch("SELECT id FROM servers WHERE status <> 'gone'")
    for row in found:
        await retire(house.deps, row["id"], WHO)
        await house.settled(row["id"], PATIENCE)


@pytest.fixture(params=["shared storage", "volumes"])
def stage(
    request: pytest.FixtureRequest,
    healthy_swarm: Lab,
    control_dsn: str,
    tenant_cluster: Cluster,
    postgres_image: str,
) -> Stage:
    shared = shared_storage(healthy_swarm) if request.param == "shared storage" else None
    return Stage(healthy_swarm, control_dsn, tenant_cluster, postgres_image, shared)


def killed_everywhere(stage: Stage, what: str, prepare: Do, act: Do, check: Callable[[House], Awaitable[None]]) -> str:
    """Die at each moment, be succeeded, and look; the sentence for the report."""
    counted = asyncio.run(stage.life(0, prepare, act))
    assert counted > 0
    points = moments(counted, what)
    died = 0
    for deadly in points:
        stage.clear()
        code = in_child(lambda deadly=deadly: stage.life(deadly, prepare, act))  # type: ignore[misc]
        assert code in (0, -signal.SIGKILL), f"at moment {deadly} of {counted} of {what} it ended with {code}"
        died += code != 0
        try:
            asyncio.run(stage.afterlife(act, check))
        except AssertionError as e:
            raise AssertionError(f"killed at moment {deadly} of {counted} of {what}: {e}") from e
    assert len(points) - died <= 1, (
        "a volume that is still in use is removed once more, or not; nothing else is left to chance"
    )
    where = "on shared storage" if stage.shared else "on volumes"
    return f"Swarm: {what} {where}: killed at {died} of {counted} effects"


@pytest.mark.timeout(600)
def test_a_worker_killed_at_any_effect_of_provisioning_leaves_one_server(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    async def one_server_runs(house: House) -> None:
        assert await house.value("SELECT count(*) FROM servers") == 1
        assert await house.value("SELECT status FROM servers") == Status.ACTIVE
        assert len(stage.things("service")) == 1
        assert len(stage.things("secret")) == 1
        assert len(stage.directories() if stage.shared else stage.things("volume")) == 1

    told = killed_everywhere(stage, "provision a pool", nothing, order, one_server_runs)
    record_property("crash_points", told)


@pytest.mark.timeout(600)
def test_a_worker_killed_at_any_effect_of_retiring_leaves_nothing(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    async def nothing_is_left(house: House) -> None:
        assert await house.value("SELECT count(*) FROM servers WHERE status <> 'gone'") == 0
        assert [stage.things(kind) for kind in ("service", "secret", "volume")] == [[], [], []]
        assert stage.directories() == []

    told = killed_everywhere(stage, "retire a pool", order, retire_all, nothing_is_left)
    record_property("crash_points", told)
