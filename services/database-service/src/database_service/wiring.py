"""Settings → Deps: opens in order, closes in reverse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg

from database_service.broker.celery import new_sender
from database_service.broker.courier import Courier
from database_service.broker.nudge import Nudge
from database_service.dataplane.sessions import TenantServers
from database_service.dataplane.transfer.moving import TenantTransfers
from database_service.deps import Deps
from database_service.domain.ids import ServerId
from database_service.domain.servers import Address
from database_service.provisioners.base import Provisioner
from database_service.provisioners.external import AddressOf, ExternalProvisioner
from database_service.provisioners.process import ProcessProvisioner
from database_service.provisioners.runtime import PostgresRuntime, client_programs
from database_service.secretbox import SecretBox
from database_service.settings import Settings, SettingsError
from database_service.store import servers
from database_service.store.changes import Changes
from database_service.store.claims import Claims
from database_service.store.pool import Db, open_pool

if TYPE_CHECKING:
    from database_service.provisioners.swarm.engine import Engine
    from database_service.provisioners.swarm.options import Options
    from database_service.provisioners.swarm.provisioner import SwarmProvisioner

CLOSE_PATIENCE_S = 5


def utc_now() -> datetime:
    """The one clock of the running system; tests have their own."""
    return datetime.now(UTC)  # noqa: TID251  the clock's home


@asynccontextmanager
async def open_deps(
    settings: Settings, *, nudge: Nudge | None = None, application: str = "database-service", hands: bool = True
) -> AsyncIterator[Deps]:
    """What verbs and steps use, for as long as the context lasts. Without `nudge`, one that sends to the broker;
    without `hands`, no Docker engine: servers in a Swarm are then known by a login alone, as in the API.

    It opens also while database and broker are away. Raises SettingsError and ProvisioningFailed.
    """
    settings.refuse_unsafe()
    settings.refuse_impossible()
    policy = settings.policy()
    async with AsyncExitStack() as stack:
        pool = await open_pool(
            settings.database_dsn(), least=0, most=settings.database_connections, application=application
        )
        stack.push_async_callback(_close, pool)
        db = Db(pool)
        tenants = await stack.enter_async_context(TenantServers(width=policy.build_width))
        transfers = await stack.enter_async_context(
            TenantTransfers(client_programs(settings.postgres_bin_dir), settings.move_jobs)
        )
        yield Deps(
            db=db,
            tenants=tenants,
            transfers=transfers,
            provisioners={
                "external": ExternalProvisioner(_address_in(db)),
                **await _own_servers(settings, stack, hands=hands),
            },
            secrets=_secret_box(settings),
            nudge=nudge or stack.enter_context(Courier(new_sender(settings.broker_url()))),
            changes=await stack.enter_async_context(Changes(settings.database_dsn())),
            now=utc_now,
            policy=policy,
            claims=Claims(),
            move_dir=settings.dumps(),
        )


async def _own_servers(settings: Settings, stack: AsyncExitStack, *, hands: bool) -> dict[str, Provisioner]:
    """What makes new servers here, by its name."""
    if settings.provisioner == "process":
        return {"process": await asyncio.to_thread(process_provisioner, settings)}
    if not hands:
        return {}
    swarm = swarm_provisioner(settings)
    stack.callback(swarm.close)
    return {"swarm": swarm}


def swarm_provisioner(settings: Settings) -> "SwarmProvisioner":
    """Servers as services of the Swarm that DOCKER_HOST is a manager of; looked for only when it is needed."""
    from database_service.provisioners.swarm.provisioner import (  # noqa: PLC0415  Docker's SDK is the worker's alone
        SwarmProvisioner,
    )

    engine, options = swarm_of(settings)
    return SwarmProvisioner(engine, options)


def swarm_of(settings: Settings) -> "tuple[Engine, Options]":
    """The engine of a manager, and how servers stand in its Swarm."""
    from database_service.provisioners.swarm.engine import Engine  # noqa: PLC0415  as above
    from database_service.provisioners.swarm.options import Options  # noqa: PLC0415

    options = Options(
        plane=settings.swarm_plane,
        network=settings.swarm_network,
        publish=settings.swarm_publish,
        pools_dir=settings.swarm_pools_dir,
        dedicated_dir=settings.swarm_dedicated_dir,
        image=settings.postgres_image,
        constraints=tuple(filter(None, (part.strip() for part in settings.swarm_constraints.split(",")))),
    )
    return Engine.at(settings.docker_host, settings.swarm_plane), options


def process_provisioner(settings: Settings) -> ProcessProvisioner:
    """Servers as processes of this machine, below DATA_DIR. ProvisioningFailed where they could not run. Blocks."""
    runtime = PostgresRuntime.find(settings.postgres_bin_dir)
    return ProcessProvisioner(runtime, runtime.reachable_home(settings.data_dir / "pools"))


def _address_in(db: Db) -> AddressOf:
    """An external server is where its row says; there is nothing else to look it up by."""

    async def address_of(server_id: ServerId) -> Address | None:
        async with db.connection() as conn:
            server = await servers.get(conn, server_id)
        return server.address if server else None

    return address_of


def _secret_box(settings: Settings) -> SecretBox:
    try:
        return SecretBox.from_ring(settings.key_ring())
    except ValueError as e:
        raise SettingsError(f"SECRET_KEYS cannot be used: {e}.") from None


async def _close(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Politely first: a connection that hangs must not keep a process from ending."""
    try:
        await asyncio.wait_for(pool.close(), CLOSE_PATIENCE_S)
    except TimeoutError:
        pool.terminate()
