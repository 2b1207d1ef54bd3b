"""What is promised about whole servers: probe, inventory, hardening, sessions and their failures."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from database_service.dataplane.connect import Patience
from database_service.dataplane.sessions import TenantServers
from database_service.domain.errors import NameTaken, TenantServerUnavailable
from database_service.domain.secret import Secret
from database_service.domain.tenancy import Admin
from dataplane.house import House, a_tenant, until
from support.cluster import free_port

SOON = timedelta(seconds=5)


async def test_a_probe_of_a_well_server_logs_in_writes_and_brings_facts(house: House) -> None:
    before = await house.ask("SELECT pg_current_wal_insert_lsn()::text")
    seen = await house.servers.probe(house.admin, SOON)
    after = await house.ask("SELECT pg_current_wal_insert_lsn()::text")
    assert (seen.ok, seen.why, seen.postgres_version) == (True, "", "18.6")
    assert before != after
    assert seen.facts["connections_used"] >= 1
    assert seen.facts["connections_max"] == 300
    assert seen.facts["in_recovery"] is False
    assert seen.facts["uptime_s"] > 0
    assert {"oldest_transaction_s", "databases"} <= set(seen.facts)


async def test_a_probe_sees_a_long_transaction(house: House) -> None:
    async with house.superuser() as conn, conn.transaction():
        await conn.execute("SELECT pg_sleep(0.2)")
        seen = await house.servers.probe(house.admin, SOON)
    assert seen.facts["oldest_transaction_s"] >= 0.2


async def test_a_probe_tests_the_password_each_time(house: House) -> None:
    await house.servers.sizes(house.admin, ())
    wrong = replace(house.admin, password=Secret("guessed"))
    seen = await house.servers.probe(wrong, SOON)
    assert not seen.ok
    assert seen.why.endswith("does not accept the password.")
    assert "guessed" not in seen.why


async def test_a_probe_of_nobody_says_refused(house: House) -> None:
    seen = await house.servers.probe(replace(house.admin, port=free_port()), SOON)
    assert not seen.ok
    assert seen.why.endswith("refused the connection.")


async def test_a_probe_of_a_server_that_says_nothing_times_out(house: House) -> None:
    async with _silent_server() as port:
        seen = await house.servers.probe(replace(house.admin, port=port), timedelta(milliseconds=200))
    assert not seen.ok
    assert seen.why.endswith("timed out.")


async def test_a_probe_of_a_name_that_does_not_exist_says_so(house: House) -> None:
    seen = await house.servers.probe(replace(house.admin, host="nowhere.invalid"), SOON)
    assert not seen.ok
    assert "cannot be reached" in seen.why


async def test_a_read_only_server_is_not_well(house: House) -> None:
    await house.do(f'ALTER ROLE "{house.admin.user}" SET default_transaction_read_only = on')
    try:
        seen = await house.servers.probe(house.admin, SOON)
    finally:
        async with house.superuser() as conn:
            await conn.execute("SET default_transaction_read_only = off")
            await conn.execute(f'ALTER ROLE "{house.admin.user}" RESET default_transaction_read_only')
    assert not seen.ok
    assert seen.why.endswith("is read only.")


async def test_every_method_says_unavailable_when_nobody_answers_and_shows_no_secret(house: House) -> None:
    admin, tenant = replace(house.admin, port=free_port()), a_tenant()
    attempts: list[Callable[[TenantServers], Awaitable[object]]] = [
        lambda servers: servers.build(admin, tenant),
        lambda servers: servers.harden(admin, ["default"]),
        lambda servers: servers.apply_limits(admin, tenant),
        lambda servers: servers.make_login(admin, tenant, tenant.logins[0]),
        lambda servers: servers.drop_login(admin, tenant, tenant.logins[0].role),
        lambda servers: servers.close(admin, tenant),
        lambda servers: servers.drop(admin, tenant),
        lambda servers: servers.enforce(admin, {tenant.logins[0].role: tenant.limits}),
        lambda servers: servers.inventory(admin),
        lambda servers: servers.sizes(admin, ["x"]),
    ]
    for attempt in attempts:
        with pytest.raises(TenantServerUnavailable, match="refused the connection") as refused:
            await attempt(house.servers)
        assert admin.password.reveal() not in str(refused.value)


async def test_a_server_that_says_nothing_is_given_up_in_time(house: House) -> None:
    async with (
        _silent_server() as port,
        TenantServers(patience=Patience(connect=timedelta(milliseconds=200))) as servers,
    ):
        with pytest.raises(TenantServerUnavailable, match="timed out"):
            await servers.sizes(replace(house.admin, port=port), ["x"])


async def test_a_session_is_kept_for_the_next_use_and_ended_when_it_idles(house: House) -> None:
    async with TenantServers(patience=Patience(idle=timedelta(milliseconds=300))) as servers:
        first, second = [await _pid(servers, house.admin) for _ in range(2)]
        assert first == second
        await until(lambda: house.ask("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $1", first))


async def test_one_server_never_sees_more_sessions_than_the_width(house: House) -> None:
    async with TenantServers(width=2) as servers, house.superuser() as holder, holder.transaction():
        await holder.execute("LOCK TABLE pg_auth_members IN SHARE ROW EXCLUSIVE MODE")
        builds = [asyncio.create_task(servers.build(house.admin, a_tenant())) for _ in range(5)]
        ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'database-service'"
        await until(lambda: house.ask(f"SELECT ({ours} AND wait_event_type = 'Lock') >= 2"))
        assert await house.ask(ours) == 2
        await holder.execute("ROLLBACK; BEGIN")
        await asyncio.gather(*builds)


async def test_a_changed_password_or_address_never_meets_an_old_session(house: House) -> None:
    await house.servers.sizes(house.admin, ())
    for changed in (replace(house.admin, password=Secret("new")), replace(house.admin, port=free_port())):
        with pytest.raises(TenantServerUnavailable):
            await house.servers.sizes(changed, ())
    assert await house.servers.sizes(house.admin, ()) == {}


async def test_a_session_the_server_ended_is_replaced(house: House) -> None:
    pid = await _pid(house.servers, house.admin)
    await house.ask("SELECT pg_terminate_backend($1, 5000)", pid)
    assert await _pid(house.servers, house.admin) != pid


async def test_hardening_again_changes_nothing_and_tenants_go_on(house: House) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as conn:
        await house.servers.harden(house.admin, ["default"])
        assert await conn.fetchval("SELECT 1") == 1
    assert await house.tenant()


async def test_a_template_name_that_somebody_else_has_is_not_built_from(house: House) -> None:
    tenant = await house.tenant()
    await house.do(f'CREATE DATABASE dbs_template_theirs OWNER "{tenant.owner_role}"')
    with pytest.raises(NameTaken):
        await house.servers.harden(house.admin, ["theirs"])
    await house.do("DROP DATABASE dbs_template_theirs")


async def test_an_inventory_tells_what_adoption_would_change_and_changes_nothing(house: House) -> None:
    tenant = await house.tenant()
    await house.do(f"""GRANT CONNECT ON DATABASE postgres TO PUBLIC; CREATE ROLE app_{tenant.name} LOGIN;
                       ALTER DATABASE dbs_template_default RENAME TO dbs_template_hidden""")
    await house.do(f"CREATE DATABASE legacy_{tenant.name}")
    try:
        found = await house.servers.inventory(house.admin)
        open_still = await house.ask("SELECT has_database_privilege('public', 'postgres', 'CONNECT')")
    finally:
        await house.do("ALTER DATABASE dbs_template_hidden RENAME TO dbs_template_default")
        await house.do(f"DROP DATABASE legacy_{tenant.name}")
        await house.servers.harden(house.admin, ["default"])
    assert open_still
    assert (found.postgres_version, found.max_connections, found.superuser) == ("18.6", 300, True)
    assert found.databases[tenant.name] > 1_000_000
    assert {tenant.owner_role, house.admin.user} <= set(found.roles)
    closing = next(c for c in found.changes if c.startswith("CONNECT and TEMPORARY on database postgres"))
    assert f"app_{tenant.name}" in closing
    assert tenant.logins[0].role in closing
    assert "The template dbs_template_default is made." in found.changes
    assert any(c.startswith(f"Database legacy_{tenant.name} is not changed") for c in found.changes)


async def test_an_inventory_of_a_hardened_server_has_nothing_to_change_of_ours(house: House) -> None:
    tenant = await house.tenant()
    changes = (await house.servers.inventory(house.admin)).changes
    assert not [c for c in changes if tenant.name in c or "postgres" in c or "template" in c]


async def _pid(servers: TenantServers, admin: Admin) -> int:
    """The backend that serves this administrator."""
    async with servers._sessions.on(admin) as session:
        return (await session.row("SELECT pg_backend_pid()"))[0]


@asynccontextmanager
async def _silent_server() -> AsyncIterator[int]:
    """It takes connections and never says a word."""
    gone = asyncio.Event()

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        gone.set()
        server.close()
        await server.wait_closed()
