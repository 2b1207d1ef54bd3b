"""Fleet: several real servers of one house, for changes that go from one to the next; what is done to each is watched."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from database_service.actions.change_servers import Every, roll_out
from database_service.actions.order_server import order_pool
from database_service.domain.errors import ProvisioningFailed
from database_service.domain.ids import OperationId, ServerId
from database_service.domain.operations import Operation, Step, Target
from database_service.domain.servers import Found, Image, Seen, Server, ServerSpec
from database_service.provisioners.place import Hands, Place
from database_service.provisioners.process import ProcessProvisioner
from database_service.provisioners.runtime import PostgresRuntime
from database_service.reconcilers import operations as operation_steps
from database_service.store import operations
from support.cluster import Cluster
from support.faults import Fate, FatedHands
from support.house import POLICY, WHO, House, open_house

MIB = 1024 * 1024
SMALL, BIG = 128 * MIB, 256 * MIB
OLD, NEW = Image("postgres@sha256:old", 18), Image("postgres@sha256:new", 18)


@dataclass
class Watched:
    """Hands that note which server they stop and start, and who else is down at that moment."""

    hands: Any
    home: Path
    stopped: list[ServerId] = field(default_factory=list)
    started: list[ServerId] = field(default_factory=list)
    down_together: list[set[ServerId]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.hands, name)

    def stop(self, place: Place) -> None:
        self.stopped.append(place.id)
        self.hands.stop(place)
        others = {Place(self.home, server_id) for server_id in self.started}
        self.down_together.append({other.id for other in others if not self._answers(other)})

    def start(self, place: Place) -> None:
        self.hands.start(place)
        self.started.append(place.id)

    def _answers(self, place: Place) -> bool:
        running = self.hands.postmaster(place).look()
        return running is not None and running.settled


class WithImages:
    """Local servers as if they ran images: which one a server was made or last changed with is remembered and compared.

    An image in `broken` is there and never starts; one in `refused` cannot be started at all.
    """

    def __init__(self, inner: ProcessProvisioner) -> None:
        self._inner = inner
        self._runs: dict[ServerId, str | None] = {}
        self.shelf = {"postgres:old": OLD, "postgres:new": NEW, "postgres:19": Image("postgres@sha256:19", 19)}
        self.broken: set[str] = set()
        self.refused: set[str] = set()
        self.looked_up: list[str] = []

    async def ensure(self, spec: ServerSpec) -> None:
        if spec.image in self.refused:
            raise ProvisioningFailed(f"The image {spec.image} cannot be started.")
        if self._runs.get(spec.id, spec.image) != spec.image:
            await self._inner.remove(spec.id, keep_data=True)
        self._runs[spec.id] = spec.image
        if spec.image not in self.broken:
            await self._inner.ensure(spec)

    async def observe(self, server_id: ServerId) -> Seen:
        return await self._inner.observe(server_id)

    async def remove(self, server_id: ServerId, *, keep_data: bool) -> None:
        await self._inner.remove(server_id, keep_data=keep_data)

    async def differences(self, spec: ServerSpec) -> Sequence[str]:
        runs = self._runs.get(spec.id)
        image = [] if runs == spec.image else [f"image is {runs} and should be {spec.image}"]
        return [*image, *await self._inner.differences(spec)]

    async def look_up(self, image: str) -> Image:
        self.looked_up.append(image)
        if image not in self.shelf:
            raise ProvisioningFailed(f"There is no image {image}.")
        return self.shelf[image]

    async def remember(self, server_id: ServerId, text: str) -> None:
        await self._inner.remember(server_id, text)

    async def list_ours(self) -> Sequence[Found]:
        return await self._inner.list_ours()


@dataclass
class Fleet:
    """`pools` are active servers with two slots and 128 MiB each, unless a test orders others."""

    house: House
    provisioner: WithImages
    watched: Watched
    pools: list[Server] = field(default_factory=list)

    async def order(self, count: int, slots: int = 2) -> list[Server]:
        ordered = [await order_pool(self.house.deps, WHO, max_instances=slots) for _ in range(count)]
        self.pools += await asyncio.gather(*(self.house.settled(server.id) for server in ordered))
        self.watched.stopped.clear()
        self.watched.down_together.clear()
        return self.pools

    async def roll_out(self, chosen: object = Every.SHARED, **target: object) -> Operation:
        return await roll_out(self.house.deps, WHO, chosen, Target(**target))  # type: ignore[arg-type]

    async def finished(self, operation: Operation) -> Operation:
        """As it is once it rests."""
        return await self.house.finished(operation.id)

    async def operation(self, operation_id: OperationId) -> Operation:
        async with self.house.deps.db.connection() as conn:
            found = await operations.get(conn, operation_id)
        assert found
        return found

    async def steps(self, operation: Operation) -> list[Step]:
        async with self.house.deps.db.connection() as conn:
            return await operations.steps(conn, operation.id)

    async def states(self, operation: Operation) -> list[str]:
        return [str(step.state) for step in await self.steps(operation)]

    async def until(self, true: Callable[[], Awaitable[bool]], operation: Operation) -> None:
        """Move by move, until something is so."""
        async with asyncio.timeout(60):
            while not await true():
                await operation_steps.step(self.house.deps, operation.id)


@asynccontextmanager
async def open_fleet(
    control_dsn: str,
    tenant: Cluster,
    runtime: PostgresRuntime,
    folder: Path,
    fate: Fate | None = None,
    **policy: object,
) -> AsyncIterator[Fleet]:
    """Its servers are stopped afterwards, whatever happened."""
    home = runtime.reachable_home(folder)
    hands: Any = Hands(runtime)
    watched = Watched(FatedHands(hands, fate) if fate else hands, home)
    inner = ProcessProvisioner(runtime, home, cast("Hands", watched))
    provisioner = WithImages(inner)
    wanted = replace(POLICY, pool_memory_bytes=SMALL, pool_cpu=1, **policy)  # type: ignore[arg-type]
    try:
        async with open_house(control_dsn, tenant, wanted, {"process": provisioner}, fate=fate) as house:
            yield Fleet(house, provisioner, watched)
    finally:
        await ProcessProvisioner(runtime, home).stop_all()
