"""The service's own schema: there and back, and whoever comes second finds it done."""

import asyncio

import asyncpg

from instance_service.store.migrate import migrate, needed
from support.cluster import Cluster, fresh_database

TABLES = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"


async def _tables(dsn: str) -> int:
    conn = await asyncpg.connect(dsn)
    try:
        return int(await conn.fetchval(TABLES))
    finally:
        await conn.close()


async def test_it_goes_forward_and_back_and_forward_again(cluster: Cluster) -> None:
    with fresh_database(cluster) as name:
        dsn = cluster.dsn(name)
        await migrate(dsn)
        there = await _tables(dsn)
        await migrate(dsn, "base")
        assert await _tables(dsn) == 1  # Alembic's own
        await migrate(dsn)
        assert await _tables(dsn) == there == 3


async def test_several_who_start_at_once_migrate_once(cluster: Cluster) -> None:
    with fresh_database(cluster) as name:
        await asyncio.gather(*(migrate(cluster.dsn(name)) for _ in range(5)))
        assert await _tables(cluster.dsn(name)) == 3


async def test_a_schema_that_is_newer_than_we_are_is_left_as_it_is(cluster: Cluster) -> None:
    with fresh_database(cluster) as name:
        await migrate(cluster.dsn(name))
        conn = await asyncpg.connect(cluster.dsn(name))
        await conn.execute("UPDATE alembic_version SET version_num = '9999'")
        await migrate(cluster.dsn(name))
        assert await conn.fetchval("SELECT version_num FROM alembic_version") == "9999"
        await conn.close()
    assert needed() < "9999"
