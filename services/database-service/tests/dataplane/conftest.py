"""`house`: a hardened tenant server, its administrator, and a TenantServers of the test's own. `move`: it and a second one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from database_service.dataplane.sessions import TenantServers
from database_service.dataplane.transfer.moving import TenantTransfers
from database_service.provisioners.runtime import client_programs
from dataplane.house import House, admin_of
from dataplane.move import Move
from support.cluster import Cluster, blocking


@pytest.fixture(scope="session")
def hardened(tenant_cluster: Cluster) -> Cluster:
    blocking(harden(tenant_cluster))
    return tenant_cluster


async def harden(cluster: Cluster) -> None:
    async with TenantServers() as servers:
        await servers.harden(admin_of(cluster), ["default"])


@pytest.fixture
async def house(hardened: Cluster) -> AsyncIterator[House]:
    async with TenantServers() as servers:
        yield House(hardened, admin_of(hardened), servers)


@pytest.fixture(scope="session")
def far_cluster(other_cluster: Cluster) -> Cluster:
    """A second tenant server, hardened: where databases are moved to."""
    blocking(harden(other_cluster))
    return other_cluster


@pytest.fixture
async def move(house: House, far_cluster: Cluster, folder: Path) -> AsyncIterator[Move]:
    async with TenantTransfers(client_programs(), jobs=2) as transfers, TenantServers() as servers:
        yield Move(house, House(far_cluster, admin_of(far_cluster), servers), transfers, folder)
