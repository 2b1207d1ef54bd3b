"""Defects that services of this shape had, each named after what it did to its users. Docker's side of them is in
test_lessons_on_swarm.py; 19 is a move's, and comes with moves."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from database_service.actions.allocate import allocate
from database_service.actions.order_server import order_pool
from database_service.actions.release import release
from database_service.domain.answers import Allocation, Pending
from database_service.domain.errors import NameTaken
from database_service.domain.servers import Health
from database_service.domain.servers import Status as ServerStatus
from database_service.provisioners.process import ProcessProvisioner
from database_service.provisioners.runtime import PostgresRuntime
from database_service.reconcilers import capacity, upkeep
from database_service.reconcilers.servers import spec_of
from support.cluster import Cluster
from support.house import POLICY, WHO, House, ask, login, open_house
from support.web import open_web


async def _admin(house: House) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(house.tenant.dsn())


@asynccontextmanager
async def _own_servers(
    control_dsn: str, tenant: Cluster, runtime: PostgresRuntime, home: Path
) -> AsyncIterator[tuple[House, ProcessProvisioner]]:
    """A house whose pools are real processes of its own."""
    provisioner = ProcessProvisioner(runtime, runtime.reachable_home(home))
    try:
        async with open_house(control_dsn, tenant, POLICY, {"process": provisioner}) as house:
            yield house, provisioner
    finally:
        await provisioner.stop_all()


async def test_01_a_pool_is_never_sold_twice_and_no_orphan_database_stays(house: House) -> None:
    await house.pool(slots=3)
    before = await _databases_on(house)
    answers = await asyncio.gather(*(allocate(house.deps, ask(), WHO) for _ in range(12)))
    await house.until_quiet()
    assert len([a for a in answers if isinstance(a, Allocation)]) == 3
    assert len(await _databases_on(house) - before) == 3


async def _databases_on(house: House) -> set[str]:
    conn = await _admin(house)
    names = {row[0] for row in await conn.fetch("SELECT datname FROM pg_database")}
    await conn.close()
    return names


async def test_02_a_repeated_request_returns_the_password_that_works(house: House) -> None:
    await house.pool()
    wanted = ask()
    for _ in range(3):
        await (await login(await allocate(house.deps, wanted, WHO))).close()


async def test_03_nobody_gets_a_database_that_is_somebody_elses(house: House) -> None:
    await house.pool()
    conn = await _admin(house)
    await conn.execute("CREATE DATABASE lesson3")
    answer = await allocate(house.deps, ask("a", database_name="lesson3"), WHO)
    assert isinstance(answer, Pending)
    assert "lesson3" in ((await house.database("a")).last_error or "")
    with pytest.raises(NameTaken):
        await _build_again(house)
    await conn.execute("DROP DATABASE lesson3")
    await conn.close()


async def _build_again(house: House) -> None:
    from database_service.reconcilers import databases as steps
    from database_service.reconcilers.addressing import admin_of

    database = await house.database("a")
    assert database.server_id
    admin = admin_of(house.deps, await house.server(database.server_id))
    await house.deps.tenants.build(admin, steps.tenant_spec(house.deps, database, ()))


async def test_04_a_released_database_gives_its_room_back(house: House) -> None:
    await house.pool(slots=1)
    first = ask()
    await allocate(house.deps, first, WHO)
    assert isinstance(await allocate(house.deps, ask("next"), WHO), Pending)
    await release(house.deps, first.instance_id, WHO)
    await house.later(timedelta(days=4))
    assert isinstance(await allocate(house.deps, ask("next"), WHO), Allocation)


async def test_05_a_failed_pool_is_cleaned_up_once_and_not_daily_for_ever(house: House) -> None:
    pool = await house.pool()
    async with house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET status = 'error', port = 1 WHERE id = $1", pool.id)
    house.clock.forward(timedelta(days=2))
    assert await upkeep.cleanup_failed_pools(house.deps) == 1
    await house.until_quiet()
    assert (await house.server(pool.id)).status is ServerStatus.GONE
    assert await upkeep.cleanup_failed_pools(house.deps) == 0


async def test_06_ordering_after_a_removal_or_at_once_never_collides(house: House) -> None:
    pools = await asyncio.gather(*(order_pool(house.deps, WHO) for _ in range(10)))
    async with house.deps.db.connection() as conn:
        await conn.execute("DELETE FROM slots WHERE server_id = $1", pools[3].id)
        await conn.execute("DELETE FROM servers WHERE id = $1", pools[3].id)
    more = [await order_pool(house.deps, WHO) for _ in range(3)]
    assert len({p.name for p in (*pools, *more)}) == 13


async def test_07_callers_who_find_no_room_do_not_each_order_a_pool(house: House) -> None:
    ordering = house.with_policy(auto_order=True)
    await asyncio.gather(*(allocate(house.deps, ask(), WHO) for _ in range(30)))
    await asyncio.gather(*(capacity.order_missing(ordering.deps) for _ in range(30)))
    assert await house.value("SELECT count(*) FROM servers") == 1


async def test_08_and_09_a_pools_settings_and_version_are_what_the_record_says(
    control_dsn: str, tenant_cluster: Cluster, runtime: PostgresRuntime, folder: Path
) -> None:
    async with _own_servers(control_dsn, tenant_cluster, runtime, folder) as (house, _):
        ordered = await order_pool(house.deps, WHO, max_instances=50, memory_limit=1024**3)
        pool = await house.settled(ordered.id)
        assert pool.status is ServerStatus.ACTIVE
        admin = spec_of(house.deps, pool)
        conn = await asyncpg.connect(
            host=pool.host,
            port=pool.port,
            user=admin.admin_user,
            password=admin.admin_password.reveal(),
            database="postgres",
        )
        for name, value in admin.settings.items():
            assert await conn.fetchval("SELECT current_setting($1)", name) in (value, _as_shown(value)), name
        assert int(await conn.fetchval("SHOW max_connections")) > 50
        assert str(pool.postgres_version) in await conn.fetchval("SELECT version()")
        await conn.close()


def _as_shown(value: str) -> str:
    """PostgreSQL shows 1024MB as 1GB, and 60 seconds as 1min."""
    if value.endswith("MB") and int(value[:-2]) % 1024 == 0:
        return f"{int(value[:-2]) // 1024}GB"
    return value


async def test_12_ready_means_that_a_login_ran_sql_not_that_a_process_is_there(house: House) -> None:
    pool = await house.pool()
    async with house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET status = 'initializing', due_at = $2, admin_user = 'nobody_here' WHERE id = $1",
                           pool.id, house.clock())  # fmt: skip
    await house.until_quiet()
    server = await house.server(pool.id)
    assert server.status is ServerStatus.INITIALIZING
    assert server.last_error


async def test_15_a_short_outage_does_not_retire_a_server_for_good(house: House) -> None:
    pool = await house.pool()
    async with house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET port = 1 WHERE id = $1", pool.id)
    for _ in range(12):
        await house.later(timedelta(minutes=6))
    down = await house.server(pool.id)
    assert down.health is Health.UNHEALTHY
    async with house.deps.db.connection() as conn:
        await conn.execute("UPDATE servers SET port = $2 WHERE id = $1", pool.id, pool.port)
    for _ in range(3):
        await house.later(timedelta(minutes=6))
    back = await house.server(pool.id)
    assert (back.status, back.health) == (ServerStatus.ACTIVE, Health.HEALTHY)


async def test_16_nothing_is_open_and_no_password_is_stored_in_clear_text(house: House) -> None:
    await house.pool()
    answer = await allocate(house.deps, ask(), WHO)
    assert isinstance(answer, Allocation)
    for table in ("servers", "databases", "logins", "events"):
        told = str(await house.value(f"SELECT string_agg(t::text, ' ') FROM {table} t"))
        assert answer.password.reveal() not in told
        assert house.tenant.password.reveal() not in told
    async with open_web(house) as web:
        for path in ("/databases/i", "/admin/pools", "/admin/stats", "/admin/events", "/admin/tokens"):
            assert (await web.client.get(path, headers={"Authorization": ""})).status_code == 401


async def test_17_names_with_quotes_are_names_and_not_sql(house: House) -> None:
    pool = await house.pool()
    from database_service.reconcilers.addressing import admin_of

    evil = '"; DROP DATABASE postgres; --'
    sizes = await house.deps.tenants.sizes(admin_of(house.deps, pool), [evil, "postgres"])
    assert list(sizes) == ["postgres"]


async def test_18_a_tenant_cannot_open_another_tenants_database(house: House) -> None:
    await house.pool()
    one, other = [await allocate(house.deps, ask(), WHO) for _ in range(2)]
    assert isinstance(one, Allocation)
    assert isinstance(other, Allocation)
    for name in (other.database.name, "postgres", "template1", "dbs_template_default"):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ObjectNotInPrerequisiteStateError)):
            await asyncpg.connect(
                host=one.address.host,
                port=one.address.port,
                user=one.login.role,
                password=one.password.reveal(),
                database=name,
            )


async def test_20_health_says_what_it_looked_at(house: House) -> None:
    async with open_web(house) as web:
        told = (await web.client.get("/health/ready")).json()
    assert told["control_database"]["ok"] is True


def test_every_verb_names_who_asked() -> None:
    """A change nobody signed cannot be audited."""
    for verb in (allocate, release, order_pool):
        assert "who" in inspect.signature(verb).parameters
