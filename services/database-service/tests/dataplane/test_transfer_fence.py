"""Behind the fence nobody writes, and what was acknowledged before is there."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from database_service.domain.errors import MoveBlocked
from database_service.domain.tenancy import TenantSpec
from dataplane.house import ENDED, until
from dataplane.move import NOW, Move
from support.writers import TABLE, writing

LONG = timedelta(seconds=60)
ENTERING = """
SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND pid <> pg_backend_pid()
   AND objid = (SELECT oid FROM pg_database WHERE datname = $1)
"""


def _dsn(move: Move, tenant: TenantSpec) -> str:
    login, cluster = tenant.logins[0], move.here.cluster
    return f"postgresql://{login.role}:{login.password.reveal()}@{cluster.host}:{cluster.port}/{tenant.name}"


async def test_every_commit_that_a_writer_was_told_of_is_in_the_copy(move: Move) -> None:
    tenant = await move.tenant(TABLE)
    shut = False

    async def where() -> str | None:
        return None if shut else _dsn(move, tenant)

    async with writing(where, clients=3) as writers:
        await writers.until_acknowledged(300)
        passage = move.passage(tenant)
        shut = True
        await move.transfers.fence(passage.source, tenant, timedelta(seconds=1))
        await move.transfers.copy(passage, move.folder, move.progress.append)
    assert await move.differences(passage) == []
    assert await writers.lost(move.there.cluster.dsn(passage.staging)) == set()


async def test_a_transaction_may_end_while_the_fence_drains_and_an_idle_session_may_not(move: Move) -> None:
    tenant = await move.tenant(TABLE)
    async with move.here.inside(tenant) as busy, move.here.inside(tenant) as idle:
        await busy.execute("BEGIN; INSERT INTO kept VALUES (1)")
        fence = asyncio.create_task(move.transfers.fence(move.here.admin, tenant, LONG))
        await until(lambda: _refused(idle))
        assert not fence.done()
        await busy.execute("INSERT INTO kept VALUES (2); COMMIT")
        await asyncio.wait_for(fence, 20)
        assert await _refused(busy)
    async with move.here.superuser(tenant.name) as conn:
        assert await conn.fetchval("SELECT count(*) FROM kept") == 2


async def test_a_transaction_that_outlasts_the_drain_is_ended(move: Move) -> None:
    tenant = await move.tenant(TABLE)
    async with move.here.inside(tenant) as busy:
        await busy.execute("BEGIN; INSERT INTO kept VALUES (1)")
        await move.transfers.fence(move.here.admin, tenant, timedelta(milliseconds=100))
        with pytest.raises(ENDED):
            await busy.execute("COMMIT")
    assert await move.here.sessions_of(tenant) == 0


async def test_who_is_just_coming_in_when_the_door_shuts_does_not_get_in(move: Move) -> None:
    tenant, other = await move.tenant(TABLE), await move.tenant()
    await move.transfers.fence(move.here.admin, other, NOW)  # so that our own session is there already
    async with move.here.superuser() as holding:
        async with holding.transaction():
            # A login reads its settings after it was let in and before it is seen.
            await holding.execute("LOCK TABLE pg_db_role_setting IN ACCESS EXCLUSIVE MODE")
            coming = asyncio.create_task(asyncpg.connect(_dsn(move, tenant)))
            await until(lambda: holding.fetchval(ENTERING, tenant.name))
            assert await holding.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", tenant.name) == 0
            fence = asyncio.create_task(move.transfers.fence(move.here.admin, tenant, NOW))
            with pytest.raises((asyncpg.PostgresError, ConnectionError)):
                await coming
        await fence


async def test_a_prepared_transaction_blocks_the_move(move: Move) -> None:
    if await move.here.ask("SHOW max_prepared_transactions") == "0":
        pytest.skip("the server takes no prepared transactions")
    tenant = await move.tenant(TABLE)
    async with move.here.inside(tenant) as conn:
        await conn.execute("BEGIN; INSERT INTO kept VALUES (1); PREPARE TRANSACTION 'half'")
    with pytest.raises(MoveBlocked, match=r"1 prepared transaction\(s\)"):
        await move.transfers.fence(move.here.admin, tenant, NOW)
    await move.here.do("ROLLBACK PREPARED 'half'", tenant.name)
    await move.transfers.fence(move.here.admin, tenant, NOW)


async def test_a_fence_may_be_put_up_twice_and_taken_down_by_opening(move: Move) -> None:
    tenant = await move.tenant()
    for _ in range(2):
        await move.transfers.fence(move.here.admin, tenant, NOW)
        assert not await move.here.can_log_in(tenant.logins[0], tenant.name)
    await move.here.servers.build(move.here.admin, tenant)
    assert await move.here.can_log_in(tenant.logins[0], tenant.name)
    assert await move.here.ask("SELECT datconnlimit FROM pg_database WHERE datname = $1", tenant.name) == 6


async def _refused(conn: "asyncpg.Connection[asyncpg.Record]") -> bool:
    try:
        await conn.execute("SELECT 1")
    except ENDED:
        return True
    return False
