"""What on a server is ours by its marks, and the end of what no row knows: exactly that, and nobody else's."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from database_service.dataplane.sessions import TenantServers
from database_service.domain.errors import NameTaken
from database_service.domain.tenancy import OurDatabase, OurRole, Ours, TenantSpec
from dataplane.house import ENDED, House, Work, a_login, a_tenant, cut_off_everywhere, until

Check = Callable[[], Awaitable[None]]


async def ours(house: House) -> Ours:
    return await house.servers.ours(house.admin)


async def database(house: House, name: str) -> OurDatabase:
    return next(found for found in (await ours(house)).databases if found.name == name)


async def role(house: House, name: str) -> OurRole:
    return next(found for found in (await ours(house)).roles if found.name == name)


# -- looking ----------------------------------------------------------------------------------------------------------


async def test_a_tenant_is_ours_with_its_owner_and_logins(house: House) -> None:
    tenant = await house.tenant(logins=(a_login(), a_login()))
    assert (await database(house, tenant.name)).owner == tenant.owner_role
    assert (await role(house, tenant.owner_role)).owns == (tenant.name,)
    assert {login.role for login in tenant.logins} <= {found.name for found in (await ours(house)).roles}


async def test_what_somebody_else_made_is_not_ours_whatever_it_is_called(house: House) -> None:
    await house.do("CREATE ROLE own_theirs NOLOGIN; CREATE ROLE u_theirs LOGIN; CREATE ROLE boss SUPERUSER")
    await house.do("COMMENT ON ROLE boss IS 'database-service: owner of a tenant database'")
    for name, owner in {"db_theirs": "own_theirs", "db_boss": "boss"}.items():
        await house.do(f"CREATE DATABASE {name} OWNER {owner}")
    found = await ours(house)
    assert {"db_theirs", "db_boss", "postgres", "template1", "dbs_template_default"}.isdisjoint(
        d.name for d in found.databases
    )
    assert {"own_theirs", "u_theirs", "boss", house.admin.user}.isdisjoint(r.name for r in found.roles)
    for name, owner in {"db_theirs": "own_theirs", "db_boss": "boss"}.items():
        oid = await house.ask("SELECT oid::int8 FROM pg_database WHERE datname = $1", name)
        await house.servers.drop_stray_database(house.admin, name, int(str(oid)))
        assert await house.ask("SELECT count(*) FROM pg_database WHERE datname = $1", name) == 1
        oid = await house.ask("SELECT oid::int8 FROM pg_roles WHERE rolname = $1", owner)
        await house.servers.drop_stray_role(house.admin, owner, int(str(oid)))
        assert await house.ask("SELECT count(*) FROM pg_roles WHERE rolname = $1", owner) == 1


async def test_a_directory_that_no_database_has_is_seen(house: House) -> None:
    base = Path(str(await house.ask("SELECT current_setting('data_directory')"))) / "base"
    planted = (base / "4000000001", base / "not_a_number")
    for directory in planted:
        directory.mkdir()
    try:
        assert (await ours(house)).files == {"4000000001"}
    finally:
        for directory in planted:
            directory.rmdir()
    assert (await ours(house)).files == frozenset()


async def test_the_files_of_a_database_in_the_making_are_nobodys_fault(house: House) -> None:
    """CREATE DATABASE is held at its commit, for which it wants a standby that is not there."""
    async with house.superuser() as maker:
        await _want_standby(house, "nobody")
        try:
            await maker.execute("SET synchronous_commit = on")
            making = asyncio.create_task(maker.execute("CREATE DATABASE in_the_making"))
            await until(lambda: house.ask("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')"))
            found = await ours(house)
        finally:
            await _want_standby(house, "")
        await making
    assert len(found.files_unsettled) == 1
    assert not found.files
    after = await ours(house)
    assert not after.files | after.files_unsettled
    await house.do("DROP DATABASE in_the_making")


async def _want_standby(house: House, name: str) -> None:
    await house.do(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    await house.do("SELECT pg_reload_conf()")

    async def is_so() -> bool:
        return await house.ask("SHOW synchronous_standby_names") == name

    await until(is_so)


# -- the end of strays ------------------------------------------------------------------------------------------------


async def drop_whole(servers: TenantServers, house: House, tenant: TenantSpec) -> None:
    """Everything of a tenant, thing by thing, as it is found now."""
    found = await servers.ours(house.admin)
    for stray in found.databases:
        if stray.name == tenant.name:
            await servers.drop_stray_database(house.admin, stray.name, stray.oid)
    for marked in found.roles:
        if marked.name in (tenant.owner_role, *(login.role for login in tenant.logins)):
            await servers.drop_stray_role(house.admin, marked.name, marked.oid)


async def test_a_stray_database_goes_with_its_sessions_and_its_neighbours_stay(house: House) -> None:
    stray, neighbour = await house.tenant(), await house.tenant()
    found = await database(house, stray.name)
    async with house.inside(stray):
        await house.servers.drop_stray_database(house.admin, found.name, found.oid)
    assert await house.leftovers(stray) == 2
    assert await house.can_log_in(neighbour.logins[0], neighbour.name)


async def test_one_that_was_made_anew_under_the_same_name_is_another(house: House) -> None:
    stray = await house.tenant()
    found = await database(house, stray.name)
    login = await role(house, stray.logins[0].role)
    await house.servers.drop(house.admin, stray)
    await house.servers.build(house.admin, replace(stray, physical_name=None))
    await house.servers.drop_stray_database(house.admin, found.name, found.oid)
    await house.servers.drop_stray_role(house.admin, login.name, login.oid)
    assert await house.can_log_in(stray.logins[0], stray.name)


async def test_a_stray_login_leaves_what_it_made_to_the_owner_of_the_database(house: House) -> None:
    tenant = await house.tenant(logins=(a_login(), a_login()))
    stray = tenant.logins[1]
    async with house.session(stray, tenant.name) as conn:
        await conn.execute("RESET role; CREATE TEMP TABLE t (n int)")
        found = await role(house, stray.role)
        await house.servers.drop_stray_role(house.admin, found.name, found.oid)
        with pytest.raises(ENDED):
            await conn.fetchval("SELECT 1")
    assert await house.can_log_in(tenant.logins[0], tenant.name)


async def test_an_owner_never_takes_its_database_along(house: House) -> None:
    tenant = await house.tenant()
    owner = await role(house, tenant.owner_role)
    with pytest.raises(NameTaken, match="still owns the database"):
        await house.servers.drop_stray_role(house.admin, owner.name, owner.oid)
    assert await house.can_log_in(tenant.logins[0], tenant.name)


async def test_two_who_remove_the_same_stray_do_not_meet_who_was_given_its_name(house: House) -> None:
    """The second one looks only after the first one's DROP; meanwhile the name is given to somebody else."""
    stray = await house.tenant()
    found = await database(house, stray.name)
    heir = a_tenant(name=stray.name)
    async with house.superuser() as first:
        await first.execute("SELECT pg_advisory_lock(hashtext('database-service: strays'))")
        second = asyncio.create_task(house.servers.drop_stray_database(house.admin, found.name, found.oid))
        waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
        await until(lambda: house.ask(waiting))
        await first.execute(f'DROP DATABASE "{stray.name}"')
        await house.servers.build(house.admin, heir)
        await first.execute("SELECT pg_advisory_unlock_all()")
        await second
    assert await house.can_log_in(heir.logins[0], heir.name)


async def test_a_removal_cut_off_anywhere_is_finished_by_the_next(house: House) -> None:
    async def prepare() -> tuple[Work, Check]:
        tenant = await house.tenant()

        async def gone() -> None:
            assert await house.leftovers(tenant) == 0

        return (lambda servers: drop_whole(servers, house, tenant)), gone

    assert len(await cut_off_everywhere(prepare)) >= 8
