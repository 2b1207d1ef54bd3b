"""`yard`: a house whose pools are processes of this machine. `pool`: one of them, which runs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from database_service.domain.servers import Server
from database_service.provisioners.process import ProcessProvisioner
from database_service.provisioners.runtime import PostgresRuntime
from support.cluster import Cluster
from support.strays import Yard, open_yard


@pytest.fixture
def home(runtime: PostgresRuntime, folder: Path) -> Iterator[Path]:
    home = folder / "pools"
    yield home
    asyncio.run(ProcessProvisioner(runtime, home).stop_all())


@pytest.fixture
async def yard(control_dsn: str, tenant_cluster: Cluster, runtime: PostgresRuntime, home: Path) -> AsyncIterator[Yard]:
    async with open_yard(control_dsn, tenant_cluster, runtime, home) as opened:
        yield opened


@pytest.fixture
async def pool(yard: Yard) -> Server:
    return await yard.pool()
