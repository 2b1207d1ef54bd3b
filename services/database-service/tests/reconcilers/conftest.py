"""What tests of moves share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from database_service.provisioners.runtime import PostgresRuntime
from support.cluster import Cluster
from support.two_pools import Two, open_two


@pytest.fixture
async def two(
    control_dsn: str, tenant_cluster: Cluster, other_cluster: Cluster, runtime: PostgresRuntime, home: Path
) -> AsyncIterator[Two]:
    async with open_two(control_dsn, tenant_cluster, other_cluster, runtime, home) as two:
        yield two
