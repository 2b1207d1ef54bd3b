"""What `close`, `drop`, `make_login` and `drop_login` promise."""

from dataclasses import replace

import asyncpg
import pytest

from database_service.domain.errors import NameTaken, TenantDatabaseMissing
from database_service.domain.tenancy import LoginSpec
from database_service.secretbox import new_password
from dataplane.house import ENDED, House, a_login, a_tenant, built


async def test_closing_shuts_out_every_login_also_those_not_named(house: House) -> None:
    forgotten = a_login()
    tenant = await house.tenant(logins=(a_login(), forgotten))
    named = replace(tenant, logins=tenant.logins[:1])
    async with house.session(forgotten, tenant.name) as conn:
        await house.servers.close(house.admin, named)
        with pytest.raises(ENDED):
            await conn.fetchval("SELECT 1")
    assert not await house.can_log_in(tenant.logins[0], tenant.name)
    assert not await house.can_log_in(forgotten, tenant.name)
    assert await house.sessions_of(tenant) == 0


async def test_closing_shuts_out_also_whom_the_tenant_let_in(house: House) -> None:
    host, guest = await house.tenant(), await house.tenant()
    async with house.inside(host) as conn:
        await conn.execute(f'GRANT CONNECT ON DATABASE "{host.name}" TO PUBLIC')
    async with house.session(guest.logins[0], host.name):
        await house.servers.close(house.admin, host)
        assert await house.sessions_of(host) == 0
    assert not await house.can_log_in(guest.logins[0], host.name)
    assert await house.can_log_in(guest.logins[0], guest.name)


async def test_a_closed_database_opens_again_with_its_data_for_the_named_logins_only(house: House) -> None:
    tenant = await house.tenant(logins=(a_login(), a_login()))
    async with house.inside(tenant) as conn:
        await conn.execute("CREATE TABLE t AS SELECT 7 AS n")
    await house.servers.close(house.admin, tenant)
    await house.servers.close(house.admin, tenant)
    await house.servers.build(house.admin, replace(tenant, logins=tenant.logins[:1]))
    async with house.inside(tenant) as conn:
        assert await conn.fetchval("SELECT n FROM t") == 7
    assert not await house.can_log_in(tenant.logins[1], tenant.name)


async def test_closing_or_dropping_what_is_not_there_is_success(house: House) -> None:
    for tenant in (a_tenant(), built(a_tenant())):
        await house.servers.close(house.admin, tenant)
        await house.servers.drop(house.admin, tenant)
        await house.servers.drop_login(house.admin, tenant, "u_nobody")


async def test_closing_and_dropping_leave_a_database_of_somebody_else_alone(house: House) -> None:
    other = await house.tenant()
    stale = a_tenant(name=other.name)
    async with house.inside(other) as conn:
        await house.servers.close(house.admin, stale)
        await house.servers.drop(house.admin, stale)
        with pytest.raises(NameTaken):
            await house.servers.drop(house.admin, built(stale))
        assert await conn.fetchval("SELECT 1") == 1


async def test_a_drop_leaves_nothing_behind(house: House) -> None:
    tenant = await house.tenant(logins=(a_login(), a_login()))
    async with house.inside(tenant) as conn:
        await conn.execute("CREATE TABLE t (n int)")
        await house.servers.drop(house.admin, tenant)
    assert await house.leftovers(tenant) == 0


async def test_a_database_is_dropped_under_its_old_name_too(house: House) -> None:
    tenant = await house.tenant()
    asked = replace(tenant, name=f"{tenant.name}_wanted")
    await house.servers.drop(house.admin, asked)
    assert await house.leftovers(asked) == 0


async def test_a_database_its_tenant_declared_a_template_is_dropped_all_the_same(house: House) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as conn:
        await conn.execute(f'ALTER DATABASE "{tenant.name}" IS_TEMPLATE true')
    await house.servers.drop(house.admin, tenant)
    assert await house.leftovers(tenant) == 0


async def test_grants_by_another_tenant_cannot_nail_a_role_down(house: House) -> None:
    tenant, other = await house.tenant(), await house.tenant()
    async with house.inside(other) as conn:
        await conn.execute(
            f"""CREATE TABLE bait (n int);
                GRANT SELECT ON bait TO "{tenant.logins[0].role}", "{tenant.owner_role}";
                GRANT CONNECT ON DATABASE "{other.name}" TO "{tenant.logins[0].role}";
                ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "{tenant.owner_role}" """
        )
    await house.servers.drop(house.admin, tenant)
    assert await house.leftovers(tenant) == 0
    async with house.inside(other) as conn:
        assert await conn.fetchval("SELECT count(*) FROM bait") == 0


async def test_a_role_that_owns_another_database_does_not_take_it_along(house: House) -> None:
    tenant = await house.tenant()
    await house.do(f'CREATE DATABASE "{tenant.name}_more" OWNER "{tenant.owner_role}"')
    await house.do(f'CREATE TABLE t (); ALTER TABLE t OWNER TO "{tenant.owner_role}"', f"{tenant.name}_more")
    with pytest.raises(NameTaken, match="still owns the database"):
        await house.servers.drop(house.admin, tenant)
    async with house.superuser(f"{tenant.name}_more") as conn:
        assert await conn.fetchval("SELECT count(*) FROM t") == 0
    await house.do(f'DROP DATABASE "{tenant.name}_more"')


async def test_a_member_that_somebody_else_added_is_neither_closed_nor_dropped(house: House) -> None:
    tenant = await house.tenant()
    colleague = LoginSpec(f"dba_{tenant.name}", new_password())
    await house.do(f"""CREATE ROLE "{colleague.role}" LOGIN PASSWORD '{colleague.password.reveal()}';
                       GRANT "{tenant.owner_role}" TO "{colleague.role}" """)
    await house.servers.close(house.admin, tenant)
    await house.servers.drop(house.admin, tenant)
    assert await house.ask("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", colleague.role)
    await house.do(f'DROP ROLE "{colleague.role}"')


async def test_a_further_login_works_beside_the_old_one(house: House) -> None:
    tenant, further = await house.tenant(), a_login()
    await house.servers.make_login(house.admin, tenant, further)
    await house.servers.make_login(house.admin, tenant, further)
    assert await house.can_log_in(tenant.logins[0], tenant.name)
    async with house.session(further, tenant.name) as conn:
        assert await conn.fetchval("SELECT current_user") == tenant.owner_role
        assert await conn.fetchval("SHOW statement_timeout") == "30s"


async def test_a_login_for_a_missing_database_or_with_a_foreign_name_is_refused(house: House) -> None:
    tenant, other = await house.tenant(), await house.tenant()
    with pytest.raises(TenantDatabaseMissing):
        await house.servers.make_login(house.admin, built(a_tenant()), a_login())
    with pytest.raises(NameTaken):
        await house.servers.make_login(house.admin, tenant, other.logins[0])
    with pytest.raises(NameTaken):
        await house.servers.drop_login(house.admin, tenant, other.logins[0].role)
    assert await house.can_log_in(other.logins[0], other.name)


async def test_a_dropped_login_is_out_at_once_and_the_owner_inherits_what_it_made(house: House) -> None:
    stays, goes = a_login(), a_login()
    tenant = await house.tenant(logins=(stays, goes))
    async with house.session(goes, tenant.name) as conn:
        await conn.execute("SET ROLE NONE; CREATE TABLE t AS SELECT 7 AS n; GRANT SELECT ON t TO CURRENT_USER")
        await house.servers.drop_login(house.admin, tenant, goes.role)
        with pytest.raises(ENDED):
            await conn.fetchval("SELECT 1")
    assert not await house.can_log_in(goes, tenant.name)
    async with house.session(stays, tenant.name) as conn:
        assert await conn.fetchval("SELECT n FROM t") == 7
        await conn.execute("DROP TABLE t")


async def test_sizes_leave_out_what_is_not_there(house: House) -> None:
    tenant = await house.tenant()
    sizes = await house.servers.sizes(house.admin, [tenant.name, "nowhere"])
    assert list(sizes) == [tenant.name]
    assert sizes[tenant.name] > 1_000_000


async def _half_dropped(house: House, name: str) -> None:
    """As a server leaves it that dies in DROP DATABASE: marked, and nothing but another DROP is let through."""
    await house.do(f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{name}'")
    with pytest.raises((asyncpg.PostgresError, asyncpg.ConnectionDoesNotExistError)):
        await house.do(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')


async def test_a_drop_that_the_servers_death_cut_short_is_ended_by_the_next(house: House) -> None:
    tenant = await house.tenant(logins=(a_login(), a_login()))
    await _half_dropped(house, tenant.name)
    await house.servers.drop(house.admin, tenant)
    assert await house.leftovers(tenant) == 0


async def test_the_door_of_a_half_dropped_database_is_shut_and_cannot_be_opened(house: House) -> None:
    tenant = await house.tenant()
    await _half_dropped(house, tenant.name)
    await house.servers.close(house.admin, tenant)
    assert not await house.ask("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", tenant.logins[0].role)
    with pytest.raises(TenantDatabaseMissing):
        await house.servers.build(house.admin, built(tenant))
    await house.servers.drop(house.admin, tenant)
    assert await house.leftovers(tenant) == 0
