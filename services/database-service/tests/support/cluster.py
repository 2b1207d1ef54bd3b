"""Cluster: a real PostgreSQL for tests, started once per test session and worker, gone at its end."""

import asyncio
import itertools
import random
import socket
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import asyncpg

from database_service.domain.secret import Secret
from database_service.provisioners.postmaster import Postmaster
from database_service.provisioners.runtime import PostgresRuntime
from database_service.secretbox import new_password
from database_service.store import migrate as migrating
from support.folders import open_folder
from support.login import until_login

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "300",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_wal_size": "4GB",
    "autovacuum": "off",
    "max_prepared_transactions": "10",
    "log_min_error_statement": "panic",
}
DROPS = """
SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database
WHERE NOT datistemplate AND datname <> 'postgres'
  AND datname NOT IN (SELECT database FROM pg_prepared_xacts)
  AND datname NOT IN (SELECT database FROM pg_replication_slots WHERE database IS NOT NULL)"""

PORTS = range(12000, 20000)
"""Below those Linux gives to outgoing connections, one of which would take the port of a server that is dead; and below
those of pools and workloads."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cluster:
    """How to reach it. `dsn("name")` is a URI with the superuser's password."""

    host: str
    port: int
    superuser: str
    password: Secret
    socket_dir: Path

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://{self.superuser}:{quote(self.password.reveal())}@{self.host}:{self.port}/{database}"


@contextmanager
def running_cluster(
    settings: Mapping[str, str] = SETTINGS, runtime: PostgresRuntime | None = None
) -> Iterator[Cluster]:
    """A fresh cluster that answers, of the wheel's programs or others; stopped and deleted afterwards, whatever happened."""
    runtime = runtime or PostgresRuntime.find()
    with open_folder() as home:
        server = Postmaster.at(runtime, home)
        cluster = Cluster("127.0.0.1", free_port(), "admin", new_password(), home / "socket")
        server.prepare()
        cluster.socket_dir.mkdir()
        runtime.account.owns(cluster.socket_dir)
        try:
            runtime.initdb(server.data_dir, cluster.superuser, cluster.password, durable=False)
            where = {"port": str(cluster.port), "unix_socket_directories": str(cluster.socket_dir)}
            server.configure({**settings, **where})
            server.start()
            blocking(until_login(cluster.dsn()))
            yield cluster
        finally:
            server.stop()


_numbers = itertools.count(1)


@contextmanager
def fresh_database(cluster: Cluster, template: str | None = None) -> Iterator[str]:
    """The name of a database made for one test, dropped afterwards whoever is still connected."""
    name = f"test_{next(_numbers)}"
    source = f'TEMPLATE "{template}"' if template else ""
    blocking(execute(cluster.dsn(), f'CREATE DATABASE "{name}" {source}'))
    try:
        yield name
    finally:
        blocking(execute(cluster.dsn(), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


async def clear(cluster: Cluster) -> None:
    """Drop what tests have left on a tenant server; templates stay, which any test would make again."""
    conn = await asyncpg.connect(cluster.dsn())
    try:
        for (drop,) in await conn.fetch(DROPS):
            with suppress(asyncpg.ObjectInUseError):  # it has a subscription, which nobody may drop from outside
                await conn.execute(drop)
    finally:
        await conn.close()


def migrate(dsn: str) -> None:
    """Bring an empty database to the newest schema: the one place where tests do so."""
    blocking(migrating.migrate(dsn))


async def execute(dsn: str, script: str) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute(script)
    finally:
        await conn.close()


def blocking(work: Coroutine[object, object, T]) -> T:
    """Run a coroutine from a synchronous fixture, also while a test's loop exists in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def free_port() -> int:
    """A port nobody listens on now."""
    return next(filter(_is_free, random.SystemRandom().sample(PORTS, len(PORTS))))


def free_ports_in_a_row(number: int) -> int:
    """The first of so many ports, one after the other, that nobody listens on now."""
    while True:
        first = free_port()
        if all(_is_free(port) for port in range(first + 1, first + number)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
        return True
