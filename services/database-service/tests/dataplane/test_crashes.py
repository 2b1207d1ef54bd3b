"""Cut off at any moment around any effect, the same call made again finishes the work."""

import sys
from dataclasses import replace
from itertools import count

import pytest

from database_service.dataplane.sessions import TenantServers
from database_service.domain.tenancy import TenantSpec
from dataplane.house import House, a_login, a_tenant, built, cut_off_everywhere

_numbers = count(1)


async def _opens(house: House, tenant: TenantSpec) -> None:
    assert await house.can_log_in(tenant.logins[0], tenant.name)
    assert not await house.ask("SELECT has_database_privilege('public', $1, 'CONNECT')", tenant.name)


async def _gone(house: House, tenant: TenantSpec) -> None:
    assert await house.leftovers(tenant) == 0


async def _closed(house: House, tenant: TenantSpec) -> None:
    assert not await house.can_log_in(tenant.logins[0], tenant.name)
    assert await house.sessions_of(tenant) == 0


def _report(work: str, deaths: list[str], least: int) -> None:
    sys.stdout.write(f"{work}: cut off at {len(deaths)} moments\n")
    assert len(deaths) >= least


async def test_a_build_cut_off_anywhere_is_finished_by_the_next(house: House) -> None:
    async def prepare():
        tenant = a_tenant()
        return (lambda servers: servers.build(house.admin, tenant)), (lambda: _opens(house, tenant))

    _report("build", await cut_off_everywhere(prepare), 6)


async def test_a_rename_cut_off_anywhere_is_finished_by_the_next(house: House) -> None:
    async def prepare():
        tenant = await house.tenant()
        wanted = replace(tenant, name=f"{tenant.name}_wanted")
        return (lambda servers: servers.build(house.admin, wanted)), (lambda: _opens(house, wanted))

    _report("rename", await cut_off_everywhere(prepare), 8)


async def test_an_undelete_cut_off_anywhere_is_finished_by_the_next(house: House) -> None:
    async def prepare():
        tenant = await house.tenant()
        await house.servers.close(house.admin, tenant)
        return (lambda servers: servers.build(house.admin, tenant)), (lambda: _opens(house, tenant))

    _report("undelete", await cut_off_everywhere(prepare), 4)


async def test_a_close_cut_off_anywhere_is_finished_by_the_next(house: House) -> None:
    async def prepare():
        tenant = await house.tenant()
        return (lambda servers: servers.close(house.admin, tenant)), (lambda: _closed(house, tenant))

    _report("close", await cut_off_everywhere(prepare), 4)


@pytest.mark.parametrize("was_built", [True, False])
async def test_a_drop_cut_off_anywhere_is_finished_by_the_next(house: House, was_built: bool) -> None:
    async def prepare():
        tenant = await house.tenant(logins=(a_login(), a_login()))
        tenant = tenant if was_built else replace(tenant, physical_name=None)
        return (lambda servers: servers.drop(house.admin, tenant)), (lambda: _gone(house, tenant))

    _report("drop", await cut_off_everywhere(prepare), 8)


async def test_a_further_login_cut_off_anywhere_is_finished_by_the_next(house: House) -> None:
    async def prepare():
        tenant, login = await house.tenant(), a_login()

        async def check() -> None:
            assert await house.can_log_in(login, tenant.name)

        return (lambda servers: servers.make_login(house.admin, tenant, login)), check

    _report("make_login", await cut_off_everywhere(prepare), 2)


async def test_a_drop_of_a_login_cut_off_anywhere_is_finished_by_the_next(house: House) -> None:
    async def prepare():
        login = a_login()
        tenant = await house.tenant(logins=(a_login(), login))
        async with house.session(login, tenant.name) as conn:
            await conn.execute("SET ROLE NONE; CREATE TABLE t (n int)")

        async def check() -> None:
            assert await house.ask("SELECT count(*) FROM pg_roles WHERE rolname = $1", login.role) == 0
            async with house.inside(tenant) as conn:
                await conn.execute("DROP TABLE t")

        return (lambda servers: servers.drop_login(house.admin, tenant, login.role)), check

    _report("drop_login", await cut_off_everywhere(prepare), 6)


async def test_new_limits_cut_off_anywhere_are_finished_by_the_next(house: House) -> None:
    async def prepare():
        tenant = await house.tenant()
        raised = replace(tenant, limits=replace(tenant.limits, connections=7))

        async def check() -> None:
            query = "SELECT rolconnlimit FROM pg_roles WHERE rolname = $1"
            assert await house.ask(query, tenant.logins[0].role) == 7

        return (lambda servers: servers.apply_limits(house.admin, raised)), check

    _report("apply_limits", await cut_off_everywhere(prepare), 2)


async def test_a_half_hardened_template_is_finished_by_the_next_call(house: House) -> None:
    async def prepare():
        template = f"crash{next(_numbers)}"

        async def harden(servers: TenantServers) -> None:
            await servers.harden(house.admin, [template])

        async def check() -> None:
            tenant = a_tenant(template=template)
            await house.servers.build(house.admin, tenant)
            async with house.superuser(tenant.name) as conn:
                assert not await conn.fetchval("SELECT has_schema_privilege('public', 'public', 'USAGE')")
                assert not await conn.fetchval("SELECT has_table_privilege('public', 'pg_db_role_setting', 'SELECT')")
            await house.servers.drop(house.admin, built(tenant))
            await house.do(f"ALTER DATABASE dbs_template_{template} IS_TEMPLATE false")
            await house.do(f"DROP DATABASE dbs_template_{template}")

        return harden, check

    _report("harden", await cut_off_everywhere(prepare), 14)
