"""What `build` promises."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from database_service.dataplane.sessions import TenantServers
from database_service.domain.errors import NameTaken, TenantDatabaseMissing, TenantServerUnavailable
from database_service.domain.plans import MIB, Limits
from database_service.domain.tenancy import LoginSpec
from database_service.secretbox import new_password
from dataplane.house import LIMITS, Fuse, House, Killed, a_login, a_tenant, built, until


async def test_a_login_acts_as_the_owner_of_its_database(house: House) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as conn:
        assert await conn.fetchval("SELECT current_user") == tenant.owner_role
        await conn.execute("CREATE TABLE t (n int); CREATE SCHEMA s; CREATE TEMPORARY TABLE u (n int)")
        owner = await conn.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 't'")
    assert owner == tenant.owner_role


async def test_what_one_login_made_another_may_use(house: House) -> None:
    first, second = a_login(), a_login()
    tenant = await house.tenant(logins=(first, second))
    async with house.session(first, tenant.name) as conn:
        await conn.execute("CREATE TABLE t (n int)")
    async with house.session(second, tenant.name) as conn:
        await conn.execute("ALTER TABLE t ADD m int; DROP TABLE t")


async def test_building_twice_keeps_the_password_and_the_data(house: House) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as conn:
        await conn.execute("CREATE TABLE t AS SELECT 7 AS n")
    await house.servers.build(house.admin, tenant)
    await house.servers.build(house.admin, replace(tenant, physical_name=None))
    async with house.inside(tenant) as conn:
        assert await conn.fetchval("SELECT n FROM t") == 7


async def test_the_stored_password_wins_over_one_the_server_has(house: House) -> None:
    tenant = await house.tenant()
    role = tenant.logins[0].role
    stored = replace(tenant, logins=(LoginSpec(role, new_password()),))
    await house.servers.build(house.admin, stored)
    assert await house.can_log_in(stored.logins[0], tenant.name)
    assert not await house.can_log_in(tenant.logins[0], tenant.name)


async def test_the_server_never_gets_a_clear_password(house: House) -> None:
    tenant = await house.tenant()
    stored = await house.ask("SELECT rolpassword FROM pg_authid WHERE rolname = $1", tenant.logins[0].role)
    assert stored.startswith("SCRAM-SHA-256$4096:")


async def test_the_owner_role_itself_cannot_log_in(house: House) -> None:
    tenant = await house.tenant()
    assert await house.ask("SELECT NOT rolcanlogin FROM pg_roles WHERE rolname = $1", tenant.owner_role)


async def test_limits_are_set_on_login_and_database(house: House) -> None:
    tenant = await house.tenant(Limits(4, timedelta(seconds=12), timedelta(seconds=34), timedelta(minutes=5), 5 * MIB))
    async with house.inside(tenant) as conn:
        shown = [
            await conn.fetchval(f"SHOW {name}")
            for name in ("statement_timeout", "idle_in_transaction_session_timeout", "temp_file_limit")
        ]
    assert shown == ["12s", "34s", "5MB"]
    assert await house.ask("SELECT rolconnlimit FROM pg_roles WHERE rolname = $1", tenant.logins[0].role) == 4
    assert await house.ask("SELECT datconnlimit FROM pg_database WHERE datname = $1", tenant.name) == 8


async def test_new_limits_replace_old_ones_and_what_the_tenant_set_for_itself(house: House) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as conn:
        await conn.execute(f'SET ROLE NONE; ALTER ROLE "{tenant.logins[0].role}" SET statement_timeout = 0')
    await house.servers.apply_limits(house.admin, replace(tenant, limits=replace(LIMITS, connections=9)))
    async with house.inside(tenant) as conn:
        assert await conn.fetchval("SHOW statement_timeout") == "30s"
    assert await house.ask("SELECT rolconnlimit FROM pg_roles WHERE rolname = $1", tenant.logins[0].role) == 9


async def test_limits_of_a_missing_database_are_refused(house: House) -> None:
    with pytest.raises(TenantDatabaseMissing):
        await house.servers.apply_limits(house.admin, built(a_tenant()))


async def test_a_built_database_is_renamed_with_its_data_also_while_somebody_is_inside(house: House) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as conn:
        await conn.execute("CREATE TABLE t AS SELECT 7 AS n")
        renamed = replace(tenant, name=f"{tenant.name}-wanted")
        await house.servers.build(house.admin, renamed)
    async with house.inside(renamed) as conn:
        assert await conn.fetchval("SELECT n FROM t") == 7
    await house.servers.build(house.admin, renamed)
    assert await house.ask("SELECT count(*) FROM pg_database WHERE datname = $1", tenant.name) == 0


async def test_a_built_database_that_is_gone_is_never_replaced_by_an_empty_one(house: House) -> None:
    tenant = await house.tenant()
    await house.do(f'DROP DATABASE "{tenant.name}"')
    with pytest.raises(TenantDatabaseMissing):
        await house.servers.build(house.admin, tenant)
    assert await house.ask("SELECT count(*) FROM pg_database WHERE datname = $1", tenant.name) == 0


@pytest.mark.parametrize("physical", [False, True])
async def test_a_database_of_somebody_else_is_never_accepted_as_already_there(house: House, physical: bool) -> None:
    other = await house.tenant()
    ours = a_tenant(name=other.name, physical_name=other.name if physical else None)
    with pytest.raises(NameTaken):
        await house.servers.build(house.admin, ours)
    assert await house.can_log_in(other.logins[0], other.name)
    assert not await house.can_log_in(ours.logins[0], other.name)


async def test_a_name_that_is_taken_stops_a_rename(house: House) -> None:
    other, tenant = await house.tenant(), await house.tenant()
    with pytest.raises(NameTaken):
        await house.servers.build(house.admin, replace(tenant, name=other.name))
    assert await house.can_log_in(tenant.logins[0], tenant.name)


async def test_a_login_of_another_tenant_is_not_taken_over(house: House) -> None:
    other = await house.tenant()
    thief = a_tenant(logins=(LoginSpec(other.logins[0].role, new_password()),))
    with pytest.raises(NameTaken):
        await house.servers.build(house.admin, thief)
    assert await house.can_log_in(other.logins[0], other.name)


async def test_a_role_somebody_else_made_is_not_used_as_owner(house: House) -> None:
    tenant = a_tenant()
    await house.do(f'CREATE ROLE "{tenant.owner_role}" SUPERUSER')
    with pytest.raises(NameTaken):
        await house.servers.build(house.admin, tenant)


@pytest.mark.parametrize(
    "strange", ['a"b', "it's", "x; DROP TABLE y; --", "ünïcødé ☃", "%I%L%%", "{brace}", "back\\slash", "$1", "UPPER"]
)
async def test_strange_names_are_quoted(house: House, strange: str) -> None:
    plain = a_tenant()
    tenant = replace(
        plain,
        name=f"db {strange} {plain.name}",
        owner_role=f"own {strange} {plain.name}",
        logins=(LoginSpec(f"u {strange} {plain.name}", new_password()),),
    )
    await house.servers.build(house.admin, tenant)
    await house.servers.build(house.admin, replace(built(tenant), name=f"{tenant.name} 2"))
    renamed = built(replace(tenant, name=f"{tenant.name} 2"))
    async with house.inside(renamed) as conn:
        assert await conn.fetchval("SELECT current_user") == tenant.owner_role
    await house.servers.close(house.admin, renamed)
    await house.servers.drop(house.admin, renamed)
    assert await house.leftovers(renamed) == 0


async def test_two_who_build_the_same_at_once_both_succeed(house: House) -> None:
    for _ in range(5):
        tenant = a_tenant()
        async with TenantServers() as other:
            await asyncio.gather(*(s.build(house.admin, tenant) for s in (house.servers, other, house.servers)))
        assert await house.can_log_in(tenant.logins[0], tenant.name)


async def test_two_who_change_one_role_at_once_both_succeed(house: House) -> None:
    tenant = await house.tenant()
    async with house.superuser() as rival, rival.transaction():
        await rival.execute(f"ALTER ROLE \"{tenant.logins[0].role}\" SET application_name = 'x'")
        building = asyncio.create_task(house.servers.build(house.admin, tenant))
        await until_someone_waits(house)
    await building
    assert await house.can_log_in(tenant.logins[0], tenant.name)


async def test_a_create_database_that_was_killed_leaves_nothing_visible_and_a_retry_works(house: House) -> None:
    tenant = a_tenant()
    async with house.superuser() as holder, holder.transaction():
        await holder.execute("LOCK TABLE pg_database IN SHARE ROW EXCLUSIVE MODE")
        building = asyncio.create_task(house.servers.build(house.admin, tenant))
        pid = await until_someone_waits(house, "CREATE DATABASE%")
        await house.ask("SELECT pg_terminate_backend($1, 5000)", pid)
        with pytest.raises(TenantServerUnavailable):
            await building
    assert await house.ask("SELECT count(*) FROM pg_database WHERE datname = $1", tenant.name) == 0
    await house.servers.build(house.admin, tenant)
    assert await house.can_log_in(tenant.logins[0], tenant.name)


async def test_nobody_enters_a_database_before_it_is_closed_to_public(house: House) -> None:
    other, tenant = await house.tenant(), a_tenant()
    async with TenantServers(on_statement=Fuse(4)) as dying:
        with pytest.raises(Killed, match="after CREATE DATABASE"):
            await dying.build(house.admin, tenant)
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        async with house.session(other.logins[0], tenant.name):
            pass


async def until_someone_waits(house: House, query: str = "%") -> int:
    """The pid of a backend of ours that waits for a lock."""
    waiting = """SELECT min(pid) FROM pg_stat_activity
                 WHERE wait_event_type = 'Lock' AND application_name = 'database-service' AND query LIKE $1"""
    return await until(lambda: house.ask(waiting, query))
