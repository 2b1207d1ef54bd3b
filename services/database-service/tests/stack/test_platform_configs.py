"""The control plane's own PostgreSQL as the stack sets it up: its roles, its settings, and who may log in, on a real server."""

import asyncio
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from database_service.actions.allocate import allocate
from database_service.domain.answers import Allocation
from database_service.domain.secret import Secret
from database_service.provisioners.postmaster import Postmaster
from database_service.provisioners.runtime import PostgresRuntime
from database_service.secretbox import new_password
from database_service.store.migrate import migrate, newest
from database_service.store.revision import revision
from support.cluster import Cluster, blocking, execute, free_port
from support.folders import open_folder
from support.house import WHO, ask, login, open_house
from support.login import until_login
from support.pages import REPOSITORY
from support.passfile import with_password

TEMPLATES = REPOSITORY / "shared" / "configs" / "postgres"
DATABASE, MIGRATOR, SERVICE, SUPERUSER = "database_service", "dbs_migrator", "dbs_service", "postgres"
NUMBERS = {"POSTGRES_MAX_CONNECTIONS": "60", "POSTGRES_SHARED_BUFFERS": "64MB"}
NAMES = {
    "POSTGRES_DB": DATABASE,
    "POSTGRES_MIGRATOR_USER": MIGRATOR,
    "POSTGRES_DATABASE_SERVICE_USER": SERVICE,
}


def rendered(name: str) -> str:
    """A template as Swarm fills it in."""
    text = (TEMPLATES / name).read_text()
    return re.sub(r'\{\{ env "(\w+)" \}\}', lambda told: {**NAMES, **NUMBERS}[told[1]], text)


@dataclass(frozen=True, slots=True)
class Platform:
    """The server, and the files with the roles' passwords. `host` is its address on a network, not its own loopback."""

    host: str
    port: int
    superuser_password: Secret
    folder: Path
    runtime: PostgresRuntime

    def password_file(self, role: str) -> Path:
        return self.folder / f"{role}.password"

    def dsn(self, role: str, database: str = DATABASE, host: str | None = None) -> str:
        password = self.password_file(role).read_text() if role != SUPERUSER else self.superuser_password.reveal()
        return f"postgresql://{role}:{password}@{host or self.host}:{self.port}/{database}"

    def make_roles(self, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the script as the image's entrypoint does."""
        files = {
            "POSTGRES_MIGRATOR_PASSWORD_FILE": str(self.password_file(MIGRATOR)),
            "POSTGRES_DATABASE_SERVICE_PASSWORD_FILE": str(self.password_file(SERVICE)),
        }
        psql = [self.runtime.bin_dir / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER, "-d", DATABASE]
        with with_password(self.superuser_password.reveal()) as passfile:
            return subprocess.run(
                [*psql, "-X", "-v", "ON_ERROR_STOP=1"],
                env={**passfile, **NAMES, **files, **environment},
                input=(TEMPLATES / "03-create-users.sql.template").read_text(),
                check=False,
                capture_output=True,
                text=True,
            )


def address_of_this_machine() -> str:
    """One that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("192.0.2.1", 9))
        return str(s.getsockname()[0])


@pytest.fixture(scope="module")
def platform(runtime: PostgresRuntime) -> Iterator[Platform]:
    with open_folder() as folder:
        server = Postmaster.at(runtime, folder)
        platform = Platform(address_of_this_machine(), free_port(), new_password(), folder, runtime)
        server.prepare()
        (folder / "socket").mkdir()
        runtime.account.owns(folder / "socket")
        runtime.initdb(server.data_dir, SUPERUSER, platform.superuser_password, durable=False)
        for name in ("postgresql.conf", "pg_hba.conf"):
            (server.data_dir / name).write_text(rendered(f"{name}.template"))
        with (server.data_dir / "postgresql.conf").open("a") as settings:
            settings.write(f"port = {platform.port}\nunix_socket_directories = '{folder}/socket'\nfsync = off\n")
        for role in (MIGRATOR, SERVICE):
            platform.password_file(role).write_text(new_password().reveal())
        try:
            server.start()
            blocking(until_login(platform.dsn(SUPERUSER, "postgres", "127.0.0.1")))
            blocking(execute(platform.dsn(SUPERUSER, "postgres", "127.0.0.1"), f"CREATE DATABASE {DATABASE}"))
            made = platform.make_roles()
            assert made.returncode == 0, made.stderr
            yield platform
        finally:
            server.stop()


# -- roles ------------------------------------------------------------------------------------------------------------


async def test_the_migrator_makes_the_schema_and_the_service_works_with_it(
    platform: Platform, tenant_cluster: Cluster
) -> None:
    await migrate(platform.dsn(MIGRATOR))
    assert await revision(platform.dsn(SERVICE)) == newest()
    async with open_house(platform.dsn(SERVICE), tenant_cluster) as house:
        await house.pool()
        allocation = await allocate(house.deps, ask(), WHO)
        assert isinstance(allocation, Allocation)
        conn = await login(allocation)
        await conn.close()


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE mine (a int)", "DROP TABLE events", "TRUNCATE events", "ALTER TABLE events ADD a int"]
)
async def test_the_service_cannot_change_the_schema(platform: Platform, statement: str) -> None:
    await migrate(platform.dsn(MIGRATOR))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await execute(platform.dsn(SERVICE), statement)


async def test_the_service_adds_to_the_request_log_and_cannot_change_it(platform: Platform) -> None:
    await migrate(platform.dsn(MIGRATOR))
    added = "INSERT INTO requests (id, at, request_id, method, endpoint, status, ms) VALUES (1, 'epoch', 'r', 'GET', '/', 200, 1)"
    await execute(platform.dsn(SERVICE), added)
    for _ in range(2):
        for statement in ("UPDATE requests SET status = 500", "DELETE FROM requests", "TRUNCATE requests"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await execute(platform.dsn(SERVICE), statement)
        again = await asyncio.to_thread(platform.make_roles)
        assert again.returncode == 0, again.stderr
    await execute(platform.dsn(SERVICE), "SELECT 1 / forget_requests('infinity', 10)")


async def test_a_later_revision_is_open_to_the_service_as_well(platform: Platform) -> None:
    await execute(platform.dsn(MIGRATOR), "CREATE TABLE later (a int)")
    await execute(platform.dsn(SERVICE), "INSERT INTO later VALUES (1)")
    await execute(platform.dsn(MIGRATOR), "DROP TABLE later")


def test_it_may_run_again_and_then_gives_new_passwords(platform: Platform) -> None:
    old = platform.dsn(SERVICE)
    platform.password_file(SERVICE).write_text(f"{new_password().reveal()}\n")
    again = platform.make_roles()
    assert again.returncode == 0, again.stderr
    platform.password_file(SERVICE).write_text(platform.password_file(SERVICE).read_text().strip())
    blocking(execute(platform.dsn(SERVICE), "SELECT 1"))
    with pytest.raises(asyncpg.InvalidPasswordError):
        blocking(execute(old, "SELECT 1"))


@pytest.mark.parametrize("content", [None, "", "hunter2"])
def test_without_a_password_nothing_is_done_and_none_is_said(platform: Platform, content: str | None) -> None:
    file = platform.folder / "lacking.password"
    file.unlink(missing_ok=True)
    if content is not None:
        file.write_text(content)
    done = platform.make_roles(POSTGRES_DATABASE_SERVICE_PASSWORD_FILE=str(file))
    assert done.returncode != 0
    assert "A password is missing" in done.stderr
    assert not content or content not in done.stderr
    blocking(execute(platform.dsn(SERVICE), "SELECT 1"))


# -- settings ---------------------------------------------------------------------------------------------------------


async def test_every_setting_of_the_file_applies(platform: Platform) -> None:
    conn = await asyncpg.connect(platform.dsn(SUPERUSER, "postgres", "127.0.0.1"))
    try:
        wrong = await conn.fetch("SELECT name, error FROM pg_file_settings WHERE error IS NOT NULL")
        applied = await conn.fetchval("SELECT count(*) FROM pg_file_settings WHERE applied")
        most = await conn.fetchval("SHOW max_connections")
    finally:
        await conn.close()
    assert not wrong
    assert applied > 25
    assert most == NUMBERS["POSTGRES_MAX_CONNECTIONS"]


# -- who may log in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [MIGRATOR, SERVICE])
def test_both_roles_may_log_in_over_the_network(platform: Platform, role: str) -> None:
    blocking(execute(platform.dsn(role), "SELECT 1"))


@pytest.mark.parametrize(
    ("role", "database"),
    [(SUPERUSER, DATABASE), (SUPERUSER, "postgres"), (SERVICE, "postgres"), (MIGRATOR, "template1")],
)
def test_nobody_else_and_nothing_else_is_let_in(platform: Platform, role: str, database: str) -> None:
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="pg_hba"):
        blocking(execute(platform.dsn(role, database), "SELECT 1"))


def test_a_wrong_password_is_refused(platform: Platform) -> None:
    wrong = platform.dsn(SERVICE).replace(platform.password_file(SERVICE).read_text(), new_password().reveal())
    with pytest.raises(asyncpg.InvalidPasswordError):
        blocking(execute(wrong, "SELECT 1"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another account than its own")
def test_in_its_own_container_nobody_but_postgresqls_account_is_its_superuser(platform: Platform) -> None:
    psql = [
        platform.runtime.bin_dir / "psql",
        "-h",
        platform.folder / "socket",
        "-p",
        str(platform.port),
        "-U",
        SUPERUSER,
    ]
    refused = subprocess.run([*psql, "-c", "SELECT 1"], check=False, capture_output=True, text=True)
    assert "Peer authentication failed" in refused.stderr
