"""What all tenants of a server share, none of them can use up: on a server with the settings that a small pool gets."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from database_service.dataplane.sessions import TenantServers
from database_service.domain.plans import MIB, Limits, Tier, fitted, plan_of
from database_service.domain.sizing import postgres_settings
from database_service.domain.tenancy import TenantSpec
from dataplane.house import ENDED, House, admin_of, until
from support.cluster import SETTINGS, Cluster, blocking, running_cluster

ROOMY = Limits(3, timedelta(seconds=60), timedelta(seconds=60), timedelta(minutes=5), 64 * MIB)
AS_ORDERED = postgres_settings(slots=2, memory_bytes=128 * MIB, cpu=1)
# The queue of notifications is 512 KiB instead of 8 GiB, so that a test can fill it.
SMALL = {**SETTINGS, **AS_ORDERED, "max_notify_queue_pages": "64"}
LOCKS = int(AS_ORDERED["max_locks_per_transaction"]) * int(AS_ORDERED["max_connections"])


@pytest.fixture(scope="module")
def small_cluster() -> Iterator[Cluster]:
    with running_cluster(SMALL) as running:
        blocking(_harden(running))
        yield running


async def _harden(cluster: Cluster) -> None:
    async with TenantServers() as servers:
        await servers.harden(admin_of(cluster), ["default"])


@pytest.fixture
async def small(small_cluster: Cluster) -> AsyncIterator[House]:
    async with TenantServers() as servers:
        yield House(small_cluster, admin_of(small_cluster), servers)


async def enforced(house: House, *tenants: TenantSpec) -> list[str]:
    """Why sessions were ended."""
    limits = {login.role: tenant.limits for tenant in tenants for login in tenant.logins}
    return [overrun.why for overrun in await house.servers.enforce(house.admin, limits)]


async def _gone(house: House, tenant: TenantSpec) -> bool:
    """A session is told of its end before it has given anything back, and until then nobody can log in to look."""
    with contextlib.suppress(asyncpg.OutOfMemoryError):
        return await house.sessions_of(tenant) == 0
    return False


async def test_a_tenant_cannot_keep_prepared_transactions(small: House) -> None:
    async with small.inside(await small.tenant()) as conn:
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="prepared transactions are disabled"):
            await conn.execute("BEGIN; PREPARE TRANSACTION 'mine'")


async def test_who_fills_the_table_of_locks_is_ended_and_others_write_again(small: House) -> None:
    bully, other = await small.tenant(ROOMY), await small.tenant(ROOMY)
    async with small.inside(bully) as storm, small.inside(other) as quiet:
        await quiet.execute(
            "CREATE TABLE t (n int); BEGIN; SELECT count(pg_advisory_lock(n)) FROM generate_series(1, 100) n"
        )
        assert await enforced(small, bully, other) == []
        with pytest.raises(asyncpg.OutOfMemoryError):
            await storm.execute("SELECT count(pg_advisory_lock(n)) FROM generate_series(1, 1000000) n")
        with pytest.raises(asyncpg.OutOfMemoryError):
            await small.ask("SELECT 'nobody can even log in'")
        [why] = await enforced(small, bully, other)
        assert "locks at once" in why
        with pytest.raises(ENDED):
            await storm.execute("SELECT 1")
        await until(lambda: _gone(small, bully))
        await quiet.execute("INSERT INTO t VALUES (1); COMMIT")


async def test_who_fills_the_table_of_locks_right_after_roles_were_changed_is_ended_too(small: House) -> None:
    """Whoever ends a session has to know its role, and forgets all roles when any of them is changed."""
    bullies = [await small.tenant(ROOMY) for _ in range(2)]
    async with small.inside(bullies[0]) as storm, small.inside(bullies[1]) as another:
        assert await enforced(small, *bullies) == []
        conn = await asyncpg.connect(small.cluster.dsn())
        for bully in bullies:
            await conn.execute(f'ALTER ROLE "{bully.logins[0].role}" CONNECTION LIMIT 7')
        await conn.close()
        await another.execute(f"SELECT count(pg_advisory_lock(-n)) FROM generate_series(1, {int(LOCKS * 0.4)}) n")
        with pytest.raises(asyncpg.OutOfMemoryError):
            await storm.execute("SELECT count(pg_advisory_lock(n)) FROM generate_series(1, 1000000) n")
        assert len(await enforced(small, *bullies)) == 2
        for conn in (storm, another):
            with pytest.raises(ENDED):
                await conn.execute("SELECT 1")
        await until(lambda: _gone(small, bullies[0]))
        await until(lambda: _gone(small, bullies[1]))
        assert await enforced(small, *bullies) == []


async def test_a_table_of_locks_that_several_sessions_filled_together_is_emptied_as_well(small: House) -> None:
    bully = await small.tenant(replace(ROOMY, connections=12))
    async with AsyncExitStack() as stack:
        several = [await stack.enter_async_context(small.inside(bully)) for _ in range(12)]
        assert await enforced(small, bully) == []
        for number, conn in enumerate(several):
            with contextlib.suppress(asyncpg.OutOfMemoryError):
                await conn.execute(
                    f"SELECT count(pg_advisory_lock({number}, n)) FROM generate_series(1, {int(LOCKS * 0.24)}) n"
                )
        with pytest.raises(asyncpg.OutOfMemoryError):
            await small.ask("SELECT 'nobody can even log in'")
        ended = await enforced(small, bully)
        assert len(ended) > len(several) / 2
        assert all("locks at once" in why for why in ended)
        await until(lambda: _quiet(small))


async def _quiet(house: House) -> bool:
    with contextlib.suppress(asyncpg.OutOfMemoryError):
        return await house.ask("SELECT true") is True
    return False


async def test_sessions_that_hold_too_many_locks_together_go_until_the_rest_fits(small: House) -> None:
    bully = await small.tenant(ROOMY)
    async with small.inside(bully) as one, small.inside(bully) as two, small.inside(bully) as three:
        for conn, locks in ((one, 0.1), (two, 0.12), (three, 0.2)):
            await conn.execute(
                f"SELECT count(pg_advisory_lock_shared(n)) FROM generate_series(1, {int(LOCKS * locks)}) n"
            )
        assert len(await enforced(small, bully)) == 1
        with pytest.raises(ENDED):
            await three.execute("SELECT 1")
        assert await one.fetchval("SELECT 1") == await two.fetchval("SELECT 1") == 1


async def test_a_dump_of_many_tables_is_no_storm(small: House) -> None:
    tenant = await small.tenant(ROOMY)
    async with small.inside(tenant) as conn:
        await conn.execute(
            "DO $$ BEGIN FOR n IN 1..500 LOOP EXECUTE format('CREATE TABLE t%s (n int)', n); END LOOP; END $$"
        )
        await conn.execute("BEGIN")
        await conn.execute(
            "DO $$ BEGIN FOR n IN 1..500 LOOP EXECUTE format('LOCK t%s IN ACCESS SHARE MODE', n); END LOOP; END $$"
        )
        assert await enforced(small, tenant) == []
        await conn.execute("COMMIT")


async def test_sessions_of_a_tenant_spill_no_more_together_than_one_may(small: House) -> None:
    limits = Limits(3, timedelta(seconds=60), timedelta(seconds=60), timedelta(minutes=5), 10 * MIB)
    bully = await small.tenant(limits)
    async with small.inside(bully) as one, small.inside(bully) as two:
        for conn in (one, two):
            await conn.execute(
                """SET work_mem = '64kB'; BEGIN;
                   DECLARE spilled CURSOR FOR SELECT n FROM generate_series(1, 180000) n ORDER BY -n; FETCH 1 FROM spilled"""
            )
        [why] = await enforced(small, bully)
        assert "of temporary files at once; the plan allows 10 MiB" in why
        assert await enforced(small, bully) == []


async def test_who_keeps_the_queue_of_notifications_full_is_ended(small: House) -> None:
    bully, other = await small.tenant(ROOMY), await small.tenant(ROOMY)
    async with small.inside(bully) as deaf, small.inside(bully) as loud, small.inside(other) as quiet:
        await deaf.execute("LISTEN anything")
        await deaf.execute("BEGIN; SELECT 1")
        await quiet.execute("BEGIN; SELECT 1")
        for n in range(50):
            await loud.execute(f"SELECT pg_notify('anything', '{n}' || repeat('x', 7000))")
        [why] = await enforced(small, bully, other)
        assert "queue of notifications" in why
        with pytest.raises(ENDED):
            await deaf.execute("SELECT 1")
        await quiet.execute("COMMIT")
        assert await small.ask("SELECT pg_notification_queue_usage()") == 0
        assert await enforced(small, bully, other) == []


async def test_all_sessions_of_a_tenant_leave_room_for_others_and_for_us(small: House) -> None:
    most = int(AS_ORDERED["max_connections"])
    limits = fitted(plan_of(Tier.PROFESSIONAL).limits, most)
    bully, other = await small.tenant(limits), await small.tenant(ROOMY)
    async with AsyncExitStack() as held:
        for _ in range(limits.connections):
            await held.enter_async_context(small.inside(bully))
        for _ in range(5):
            assert not await small.can_log_in(bully.logins[0], bully.name)
        assert await small.can_log_in(other.logins[0], other.name)
        assert await small.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", bully.name) <= most / 2


@pytest.mark.parametrize(("sessions", "each"), [(60, 15), (400, 40), (2, 1)])
def test_a_plan_on_a_small_server_gives_no_more_than_a_quarter_of_its_sessions(sessions: int, each: int) -> None:
    assert fitted(plan_of(Tier.PROFESSIONAL).limits, sessions).connections == each
