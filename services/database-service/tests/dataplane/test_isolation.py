"""A tenant reaches only its own database, and cannot use more of the server than its plan gives."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from database_service.domain.plans import MIB, Limits
from database_service.domain.tenancy import Overrun, TenantSpec
from database_service.provisioners.runtime import PostgresRuntime
from dataplane.fastpath import calling
from dataplane.house import ENDED, LIMITS, House, a_login, until
from support.passfile import with_password

DENIED = asyncpg.InsufficientPrivilegeError
SHORT = Limits(3, timedelta(milliseconds=50), timedelta(milliseconds=50), timedelta(minutes=5), MIB)


async def test_a_tenant_cannot_connect_to_anothers_database(house: House) -> None:
    one, other = await house.tenant(), await house.tenant()
    with pytest.raises(DENIED, match="permission denied for database"):
        async with house.session(one.logins[0], other.name):
            pass


@pytest.mark.parametrize("shared", ["postgres", "template1"])
async def test_a_tenant_cannot_connect_to_a_shared_database(house: House, shared: str) -> None:
    tenant = await house.tenant()
    with pytest.raises(DENIED):
        async with house.session(tenant.logins[0], shared):
            pass


@pytest.mark.parametrize("template", ["dbs_template_default", "template0"])
async def test_nobody_can_connect_to_a_template(house: House, template: str) -> None:
    tenant = await house.tenant()
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        async with house.session(tenant.logins[0], template):
            pass


@pytest.mark.parametrize(
    "query",
    [
        "SELECT setconfig FROM pg_db_role_setting",
        "SELECT rolconfig FROM pg_roles",
        "SELECT useconfig FROM pg_user",
        "SELECT * FROM pg_roles",
        "SELECT useconfig FROM pg_shadow",
        "SELECT rolpassword FROM pg_authid",
    ],
)
async def test_a_tenant_cannot_read_settings_or_passwords_of_roles(house: House, query: str) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as conn:
        with pytest.raises(DENIED):
            await conn.fetch(query)


async def test_a_tenant_cannot_read_what_others_run(house: House) -> None:
    one, other = await house.tenant(), await house.tenant()
    async with house.inside(one) as busy, house.inside(other) as curious:
        await busy.execute("SELECT 'a secret'")
        seen = "SELECT DISTINCT query FROM pg_stat_activity WHERE usename = $1"
        assert await curious.fetchval(seen, one.logins[0].role) == "<insufficient privilege>"


@pytest.mark.parametrize("database", ["postgres", "template1"])
async def test_public_has_nothing_in_the_schema_public_of_a_shared_database(house: House, database: str) -> None:
    async with house.superuser(database) as conn:
        assert not await conn.fetchval("SELECT has_schema_privilege('public', 'public', 'USAGE')")


async def test_a_role_that_is_let_into_a_foreign_database_has_nothing_in_it(house: House) -> None:
    host, guest = await house.tenant(), await house.tenant()
    async with house.inside(host) as conn:
        await conn.execute("CREATE TABLE mine (n int)")
    await house.do(f'GRANT CONNECT ON DATABASE "{host.name}" TO "{guest.logins[0].role}"')
    async with house.session(guest.logins[0], host.name) as conn:
        for attempt in (
            "SELECT * FROM public.mine",
            "CREATE TABLE public.t (n int)",
            "CREATE SCHEMA s",
            "CREATE TEMP TABLE t ()",
        ):
            with pytest.raises(DENIED):
                await conn.execute(attempt)


@pytest.mark.parametrize(
    "attempt",
    [
        "SET temp_file_limit = -1",
        'ALTER ROLE "{login}" SET temp_file_limit = -1',
        'ALTER ROLE "{login}" CONNECTION LIMIT -1',
        'ALTER ROLE "{login}" SUPERUSER',
        'ALTER ROLE "{owner}" LOGIN',
        'GRANT "{owner}" TO "{other}"',
        'SET ROLE "{other}"',
        "CREATE ROLE friend",
        "CREATE DATABASE spare",
        'ALTER DATABASE "{name}" RENAME TO other',
        'ALTER DATABASE "{name}" OWNER TO "{login}"',
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('PG_VERSION')",
        "SET session_authorization = 'admin'",
    ],
)
@pytest.mark.parametrize("acting_as", ["owner", "login"])
async def test_a_tenant_cannot_lift_its_limits_or_leave_its_roles(house: House, attempt: str, acting_as: str) -> None:
    tenant, other = await house.tenant(), await house.tenant()
    names = {
        "login": tenant.logins[0].role,
        "owner": tenant.owner_role,
        "name": tenant.name,
        "other": other.logins[0].role,
    }
    async with house.inside(tenant) as conn:
        await conn.execute("SET ROLE NONE" if acting_as == "login" else "SELECT 1")
        with pytest.raises(DENIED):
            await conn.execute(attempt.format(**names))


async def test_a_login_cannot_have_more_sessions_than_its_plan(house: House) -> None:
    tenant = await house.tenant(Limits(1, timedelta(seconds=30), timedelta(seconds=60), timedelta(minutes=5), MIB))
    async with house.inside(tenant):
        with pytest.raises(asyncpg.TooManyConnectionsError):
            async with house.inside(tenant):
                pass


async def test_all_logins_together_have_the_sessions_of_two(house: House) -> None:
    logins = (a_login(), a_login(), a_login())
    tenant = await house.tenant(
        Limits(1, timedelta(seconds=30), timedelta(seconds=60), timedelta(minutes=5), MIB), logins=logins
    )
    async with house.session(logins[0], tenant.name), house.session(logins[1], tenant.name):
        with pytest.raises(asyncpg.TooManyConnectionsError):
            async with house.session(logins[2], tenant.name):
                pass


async def test_a_query_that_spills_more_than_its_plan_is_stopped(house: House) -> None:
    tenant = await house.tenant(Limits(3, timedelta(seconds=30), timedelta(seconds=60), timedelta(minutes=5), MIB))
    async with house.inside(tenant) as conn:
        await conn.execute("ALTER ROLE CURRENT_USER RESET ALL; RESET ALL; SET work_mem = '64kB'")
        with pytest.raises(asyncpg.ConfigurationLimitExceededError):
            await conn.fetchval(
                "SELECT count(*) FROM (SELECT n FROM generate_series(1, 500000) n ORDER BY -n OFFSET 1) s"
            )


async def test_the_temp_limit_survives_a_reset_by_the_tenant(house: House) -> None:
    tenant = await house.tenant(Limits(3, timedelta(seconds=30), timedelta(seconds=60), timedelta(minutes=5), MIB))
    async with house.inside(tenant) as conn:
        await conn.execute("SET ROLE NONE; ALTER ROLE CURRENT_USER RESET ALL")
    async with house.inside(tenant) as conn:
        assert await conn.fetchval("SHOW temp_file_limit") == "1MB"


async def test_a_statement_past_its_plan_is_ended_also_when_the_session_switched_the_limit_off(house: House) -> None:
    tenant = await house.tenant(SHORT)
    async with house.inside(tenant) as conn:
        await conn.execute("SET statement_timeout = 0")
        running = asyncio.create_task(conn.execute("SELECT pg_sleep(60)"))
        overrun = await _first_overrun(house, tenant)
        with pytest.raises(ENDED):
            await running
    assert (overrun.role, overrun.database) == (tenant.logins[0].role, tenant.name)
    assert overrun.why.startswith("a statement ran")
    assert overrun.seconds > 1


async def test_an_idle_transaction_past_its_plan_is_ended_also_when_the_role_switched_the_limit_off(
    house: House,
) -> None:
    tenant = await house.tenant(SHORT)
    async with house.inside(tenant) as conn:
        await conn.execute("SET ROLE NONE; ALTER ROLE CURRENT_USER SET idle_in_transaction_session_timeout = 0")
    async with house.inside(tenant) as conn:
        await conn.execute("BEGIN")
        overrun = await _first_overrun(house, tenant)
        with pytest.raises(ENDED):
            await conn.execute("SELECT 1")
    assert overrun.why.startswith("a transaction was idle")


async def test_a_function_that_is_called_without_a_statement_is_ended_like_a_statement(house: House) -> None:
    """The protocol has a message of its own for it, which libpq still sends (PQfn), and which no time-out's start is told of."""
    tenant = await house.tenant(SHORT)
    pg_sleep = await house.ask("SELECT 'pg_sleep(double precision)'::regprocedure::oid::int8")
    async with calling(house.cluster, tenant.name, tenant.logins[0], int(str(pg_sleep)), 30.0) as call:
        overrun = await _first_overrun(house, tenant)
        assert not await call
    assert overrun.why.startswith("a statement ran")


async def test_a_transaction_that_is_open_for_too_long_is_ended_however_busy(house: House) -> None:
    tenant = await house.tenant()
    brief = {tenant.logins[0].role: replace(LIMITS, transaction_timeout=timedelta(milliseconds=50))}
    async with house.inside(tenant) as conn:

        async def busy() -> None:
            await conn.execute("BEGIN")
            while True:
                await conn.execute("SELECT pg_sleep(0.01)")

        working = asyncio.create_task(busy())
        [overrun] = await until(lambda: house.servers.enforce(house.admin, brief))
        with pytest.raises(ENDED):
            await working
    assert overrun.why.startswith("a transaction was open")


async def test_sessions_within_their_plan_and_of_other_roles_are_left_alone(house: House) -> None:
    tenant, other = await house.tenant(), await house.tenant()
    async with house.inside(tenant) as conn, house.inside(other) as bystander:
        await bystander.execute("BEGIN")
        await conn.execute("BEGIN")
        assert await house.servers.enforce(house.admin, {tenant.logins[0].role: LIMITS}) == []
        assert await house.servers.enforce(house.admin, {}) == ()
        assert await conn.fetchval("SELECT 1") == await bystander.fetchval("SELECT 1") == 1


async def _first_overrun(house: House, tenant: TenantSpec) -> Overrun:
    return (await until(lambda: house.servers.enforce(house.admin, {tenant.logins[0].role: SHORT})))[0]


async def test_a_tenants_settings_on_its_database_cannot_bend_an_administrators_session(house: House) -> None:
    login = a_login()
    tenant = await house.tenant(logins=(a_login(), login))
    async with house.session(login, tenant.name) as conn:
        await conn.execute(
            f"""SET ROLE NONE; CREATE TABLE t (n int);
                ALTER DATABASE "{tenant.name}" SET role = '{tenant.owner_role}';
                ALTER DATABASE "{tenant.name}" SET default_transaction_read_only = on;
                ALTER DATABASE "{tenant.name}" SET search_path = public;
                ALTER DATABASE "{tenant.name}" SET local_preload_libraries = 'nowhere';
                ALTER DATABASE "{tenant.name}" SET transaction_timeout = '1ms';
                ALTER DATABASE "{tenant.name}" SET statement_timeout = '1ms'"""
        )
    await house.servers.drop_login(house.admin, tenant, login.role)
    assert await house.ask("SELECT count(*) FROM pg_roles WHERE rolname = $1", login.role) == 0


# -- what a tenant must still be able to do ---------------------------------------------------------------------------


def _program(house: House, tenant: TenantSpec, program: str, *arguments: str, stdin: str = "") -> str:
    executable = Path(PostgresRuntime.find().bin_dir) / program
    where = ["-h", house.cluster.host, "-p", str(house.cluster.port), "-U", tenant.logins[0].role, *arguments]
    with with_password(tenant.logins[0].password.reveal()) as environment:
        return _output([executable, *where, tenant.name], stdin, environment)


def _output(command: Sequence[str | Path], stdin: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, input=stdin, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_tenants_dump_is_restored_by_another_tenant_without_an_error(house: House) -> None:
    source, target = await house.tenant(), await house.tenant()
    async with house.inside(source) as conn:
        await conn.execute(
            "CREATE SCHEMA s; CREATE TABLE s.t (n int PRIMARY KEY); INSERT INTO s.t VALUES (7);"
            "CREATE VIEW v AS SELECT * FROM s.t; CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1"
        )
    dump = _program(house, source, "pg_dump", "--no-owner")
    assert "pg_roles" not in dump
    assert "pg_db_role_setting" not in dump
    _program(house, target, "psql", "-v", "ON_ERROR_STOP=1", stdin=dump)
    async with house.inside(target) as conn:
        assert await conn.fetchval("SELECT n FROM v") == 7


@pytest.mark.parametrize(
    "command", ["\\l", "\\l+", "\\du", "\\du+", "\\dn+", "\\d", "\\df", "\\dp", "\\dx", "\\drg", "\\conninfo"]
)
async def test_psql_shows_a_tenant_what_it_always_shows(house: House, command: str) -> None:
    tenant = await house.tenant()
    _program(house, tenant, "psql", "-v", "ON_ERROR_STOP=1", stdin=command)


LOOK_AROUND = """
import asyncio, sys
from sqlalchemy import MetaData, inspect
from sqlalchemy.ext.asyncio import create_async_engine

def look_around(conn):
    inspect(conn).get_schema_names()
    metadata = MetaData()
    metadata.reflect(conn)
    return sorted(metadata.tables)

async def main(url):
    engine = create_async_engine(url)
    async with engine.connect() as conn:
        print(await conn.run_sync(look_around))
    await engine.dispose()

asyncio.run(main(sys.stdin.read()))
"""


async def test_an_orm_can_look_around_as_a_tenant(house: House) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as conn:
        await conn.execute("CREATE TABLE t (n int PRIMARY KEY, e text UNIQUE); CREATE TABLE u (n int REFERENCES t)")
    login, cluster = tenant.logins[0], house.cluster
    url = f"postgresql+asyncpg://{login.role}:{login.password.reveal()}@{cluster.host}:{cluster.port}/{tenant.name}"
    # In a process of its own: greenlets and pytest's rewriting of imports disturb each other on Python 3.11.
    assert _output([sys.executable, "-c", LOOK_AROUND], url, os.environ).strip() == "['t', 'u']"
