"""Our own database: found when it is needed, migrated by whoever is first, and found again when it moved or was rotated."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from instance_service.actions.create import create
from instance_service.domain.databases import DatabaseSeen, State
from instance_service.domain.errors import DatabasesUnavailable, OwnDatabaseUnavailable
from instance_service.domain.ids import CustomerId
from instance_service.domain.plans import Tier
from instance_service.domain.secret import Secret
from instance_service.domain.workloads import Address, Login
from instance_service.own_database import OwnDatabase
from instance_service.store.changes import Changes
from instance_service.store.pool import Db, open_pool
from instance_support.house import WHO, ask, open_house
from instance_support.worlds import FakeDatabases
from support.cluster import Cluster, execute, free_port, fresh_database


@dataclass
class Ours(FakeDatabases):
    """Database-service, with a real login for the service's own database. `told` counts how often it was read."""

    dsn: str = ""
    away: bool = False
    there: bool = False
    told: int = field(default=0)

    async def look(self, instance_id: str, wait: timedelta = timedelta()) -> DatabaseSeen:
        if self.away:
            raise DatabasesUnavailable("database-service does not answer")
        return DatabaseSeen(State.READY if self.there else State.ABSENT)

    async def allocate(self, instance_id: str, customer_id: CustomerId, tier: Tier) -> DatabaseSeen:
        self.there = True
        self.allocations += 1
        return DatabaseSeen(State.READY)

    async def login(self, instance_id: str) -> Login:
        self.told += 1
        where = urlsplit(self.dsn)
        assert where.hostname
        assert where.port
        return Login(
            Address(where.hostname, where.port), where.path[1:], where.username or "", Secret(where.password or "")
        )


def own(databases: Ours) -> OwnDatabase:
    return OwnDatabase(databases, "instance-service", CustomerId("platform"), Tier.STANDARD)


async def test_it_is_asked_for_once_and_migrated_by_whoever_is_first(cluster: Cluster) -> None:
    with fresh_database(cluster) as name:
        databases = Ours(dsn=cluster.dsn(name))
        connect = own(databases)
        conns = await asyncio.gather(*(connect() for _ in range(5)))
        assert (databases.allocations, databases.told) == (1, 1)
        assert await conns[0].fetchval("SELECT count(*) FROM instances") == 0
        for conn in conns:
            await conn.close()


async def test_while_nobody_tells_where_it_is_that_is_said_and_later_it_is_found(cluster: Cluster) -> None:
    with fresh_database(cluster) as name:
        databases = Ours(dsn=cluster.dsn(name), away=True)
        pool = await open_pool(own(databases), most=2, application="tests")
        db = Db(pool)
        with pytest.raises(OwnDatabaseUnavailable, match="does not answer"):
            async with db.connection():
                pass
        databases.away = False
        async with db.connection() as conn:
            assert await conn.fetchval("SELECT 1") == 1
        await pool.close()


async def test_when_it_was_moved_new_connections_go_where_it_is_now(cluster: Cluster) -> None:
    with fresh_database(cluster) as before, fresh_database(cluster) as after:
        databases = Ours(dsn=cluster.dsn(before))
        connect = own(databases)
        await (await connect()).close()
        databases.dsn = cluster.dsn(after)
        await execute(cluster.dsn(), f'ALTER DATABASE "{before}" ALLOW_CONNECTIONS false')
        conn = await connect()
        assert await conn.fetchval("SELECT current_database()") == after
        await conn.close()
        assert databases.told == 2


async def test_when_its_login_was_rotated_the_new_one_is_read(cluster: Cluster) -> None:
    with fresh_database(cluster) as name:
        stale = cluster.dsn(name).replace(cluster.password.reveal(), "no-longer-the-password")
        databases = Ours(dsn=stale, there=True)
        connect = own(databases)
        with pytest.raises(OwnDatabaseUnavailable):
            await connect()
        databases.dsn = cluster.dsn(name)
        await (await connect()).close()


async def test_one_that_is_away_is_said_to_be(cluster: Cluster) -> None:
    databases = Ours(dsn=f"postgresql://nobody:x@127.0.0.1:{free_port()}/none", there=True)
    with pytest.raises(OwnDatabaseUnavailable):
        await own(databases)()


async def test_who_waits_for_a_change_hears_of_it_over_the_same_door(cluster: Cluster) -> None:
    with fresh_database(cluster) as name:
        connect = own(Ours(dsn=cluster.dsn(name)))
        await (await connect()).close()
        async with open_house(cluster.dsn(name)) as house, Changes(connect) as changes:
            made = await create(house.deps, ask(), WHO)
            with changes.watch(made.id) as changed:
                async with asyncio.timeout(20):
                    while not changed.is_set():  # it may not listen yet
                        await execute(
                            cluster.dsn(name), "UPDATE instances SET progress = jsonb_build_object('at', now())"
                        )


async def test_a_connection_that_is_lost_is_replaced(cluster: Cluster) -> None:
    with fresh_database(cluster) as name:
        pool = await open_pool(own(Ours(dsn=cluster.dsn(name))), most=1, application="lost-one")
        db = Db(pool)
        async with db.connection() as conn:
            await conn.fetchval("SELECT 1")
        await execute(
            cluster.dsn(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lost-one'"
        )
        answers = [await _one(db), await _one(db)]
        assert answers[1] == 1  # only the first may have met the one that was lost
        await pool.close()


async def _one(db: Db) -> int | None:
    try:
        async with db.connection() as conn:
            return int(await conn.fetchval("SELECT 1"))
    except OwnDatabaseUnavailable:
        return None
