"""The schema, asked for by those who need it before they serve."""

import asyncio

from database_service.store.migrate import migrate, newest
from database_service.store.revision import awaited, needed, revision
from support.cluster import Cluster, execute, fresh_database


def test_what_is_needed_is_the_newest_revision() -> None:
    assert needed() == newest()


async def test_a_database_without_a_schema_has_no_revision_and_an_impatient_server_gives_up(cluster: Cluster) -> None:
    with fresh_database(cluster) as name:
        assert await revision(cluster.dsn(name)) is None
        assert not await awaited(cluster.dsn(name), 0)


async def test_a_server_that_waits_starts_when_the_schema_is_there(cluster: Cluster) -> None:
    with fresh_database(cluster) as name:
        waiting = asyncio.create_task(awaited(cluster.dsn(name), 60))
        await asyncio.sleep(0)
        assert not waiting.done()
        await migrate(cluster.dsn(name))
        assert await waiting


async def test_an_old_schema_is_waited_for_and_a_newer_one_will_do(cluster: Cluster) -> None:
    with fresh_database(cluster) as name:
        dsn = cluster.dsn(name)
        await migrate(dsn, "0001")
        assert not await awaited(dsn, 0)
        await execute(dsn, "UPDATE alembic_version SET version_num = '9999'")
        assert await awaited(dsn, 0)


async def test_a_database_that_is_away_is_waited_for_as_well() -> None:
    assert not await awaited("postgresql://nobody@127.0.0.1:1/none", 0)
