"""The shared fixtures keep their own promises."""

import asyncpg
import pytest

from support.cluster import Cluster, fresh_database


async def test_each_test_has_a_migrated_control_database_of_its_own(control_dsn: str) -> None:
    conn = await asyncpg.connect(control_dsn)
    assert await conn.fetchval("SELECT count(*) FROM servers") == 0
    await conn.close()


async def test_a_database_of_a_test_is_dropped_also_while_somebody_is_connected(cluster: Cluster) -> None:
    with fresh_database(cluster) as name:
        forgotten = await asyncpg.connect(cluster.dsn(name))
    forgotten.terminate()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(cluster.dsn(name))


async def test_the_tenant_server_is_another_server_than_the_control_planes(
    cluster: Cluster, tenant_cluster: Cluster
) -> None:
    assert cluster.port != tenant_cluster.port
    conn = await asyncpg.connect(tenant_cluster.dsn())
    assert conn.get_server_version().major == 18
    await conn.close()
