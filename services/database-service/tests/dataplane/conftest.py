"""`house`: a hardened tenant server, its administrator, and a TenantServers of the test's own."""

from collections.abc import AsyncIterator

import pytest

from database_service.dataplane.sessions import TenantServers
from dataplane.house import House, admin_of
from support.cluster import Cluster, blocking


@pytest.fixture(scope="session")
def hardened(tenant_cluster: Cluster) -> Cluster:
    async def harden() -> None:
        async with TenantServers() as servers:
            await servers.harden(admin_of(tenant_cluster), ["default"])

    blocking(harden())
    return tenant_cluster


@pytest.fixture
async def house(hardened: Cluster) -> AsyncIterator[House]:
    async with TenantServers() as servers:
        yield House(hardened, admin_of(hardened), servers)
