"""Settings → Deps: opens in order, closes in reverse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import asyncpg

from database_service_client import AsyncDatabaseService
from instance_service.broker.celery import new_sender
from instance_service.broker.courier import Courier
from instance_service.databases.client import ONE_QUICK_REPETITION, DatabaseServiceDatabases
from instance_service.deps import Deps
from instance_service.domain.ids import CustomerId
from instance_service.own_database import OwnDatabase
from instance_service.settings import Settings
from instance_service.store.changes import Changes
from instance_service.store.pool import Db, open_pool
from instance_service.workloads.base import Workloads
from instance_service.workloads.description import Options
from instance_service.workloads.engine import Engine
from instance_service.workloads.process import ProcessWorkloads
from instance_service.workloads.swarm import SwarmWorkloads

CLOSE_PATIENCE_S = 5


def utc_now() -> datetime:
    """The one clock of the running system; tests have their own."""
    return datetime.now(UTC)  # noqa: TID251  the clock's home


@asynccontextmanager
async def open_deps(settings: Settings, *, application: str = "instance-service") -> AsyncIterator[Deps]:
    """What verbs and steps use, for as long as the context lasts. It opens also while database-service, our own database
    and the broker are away. Raises SettingsError.
    """
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(
            AsyncDatabaseService(
                settings.database_service_url,
                settings.database_service_token().reveal(),
                timeout=settings.database_service_timeout_s,
                retries=ONE_QUICK_REPETITION,
            )
        )
        databases = DatabaseServiceDatabases(service)
        own = OwnDatabase(databases, settings.own_instance_id, CustomerId(settings.own_customer_id), settings.own_plan)
        pool = await open_pool(own, most=settings.own_connections, application=application)
        stack.push_async_callback(_close, pool)
        yield Deps(
            db=Db(pool),
            databases=databases,
            workloads=_workloads(settings),
            nudge=stack.enter_context(Courier(new_sender(settings.broker_url.get_secret_value()))),
            changes=await stack.enter_async_context(Changes(own)),
            now=utc_now,
            policy=settings.policy(),
        )


async def halt_workloads(settings: Settings) -> None:
    """End all that are processes of this machine; each begins again when it is looked at next. WorkloadFailed."""
    await ProcessWorkloads(settings.data_dir).halt_all()


def _workloads(settings: Settings) -> Workloads:
    if settings.workloads == "process":
        return ProcessWorkloads(settings.data_dir)
    return SwarmWorkloads(Engine.at(settings.docker_host), _swarm_options(settings))


def _swarm_options(settings: Settings) -> Options:
    return Options(
        plane=settings.swarm_plane,
        network=settings.swarm_network,
        image=settings.swarm_image,
        constraints=tuple(filter(None, map(str.strip, settings.swarm_constraints.split(",")))),
    )


async def _close(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Politely first: a connection that hangs must not keep a process from ending."""
    try:
        await asyncio.wait_for(pool.close(), CLOSE_PATIENCE_S)
    except TimeoutError:
        pool.terminate()
