"""TlsServer: a real PostgreSQL with OpenSSL, which the wheel's has not, that lets nobody in without TLS.

It stands as the image would have it: a key of its own, its certificate in `tls` beside its data, and `hostssl` alone.
"""

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from database_service import certificates
from database_service.domain.ids import ServerId
from database_service.domain.secret import Secret
from database_service.domain.tenancy import Admin
from database_service.provisioners.runtime import Account, PostgresRuntime
from support.cluster import SETTINGS, Cluster, blocking, running_cluster

PROGRAMS = Path("/usr/lib/postgresql")
"""Where Debian's packages put them, one folder for each major version."""
ACCESS = "local all all scram-sha-256\nhostssl all all all scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class Vouching:
    """An authority with its key."""

    certificate: str
    key: Secret

    @classmethod
    def new(cls, generation: int = 1) -> "Vouching":
        key = certificates.new_key()
        return cls(certificates.new_authority(generation, key, datetime.now(UTC)), key)

    def issue(self, key: Secret, *names: str, at: datetime | None = None) -> str:
        return certificates.issue(self.certificate, self.key, key, names, at or datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class TlsServer:
    """It is reached at 127.0.0.1 alone, so a certificate for another name is one that does not fit."""

    cluster: Cluster
    authority: Vouching
    key: Secret
    id: ServerId

    def admin(self, *trusted: Vouching, host: str = "127.0.0.1") -> Admin:
        roots = "".join(each.certificate for each in trusted or (self.authority,))
        return Admin(self.id, host, self.cluster.port, self.cluster.superuser, self.cluster.password, roots)

    async def connection(self, *trusted: Vouching) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            self.cluster.dsn(), ssl=ssl.create_default_context(cadata=self.admin(*trusted).roots)
        )


def programs_with_tls() -> Path | None:
    """Of the newest PostgreSQL of this machine that was built with OpenSSL."""
    for folder in sorted(PROGRAMS.glob("*/bin"), reverse=True):
        if (folder / "postgres").exists() and "libssl" in _libraries(folder / "postgres"):
            return folder
    return None


def _libraries(program: Path) -> str:
    return subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout


@contextmanager
def running_tls_server(programs: Path, server_id: ServerId) -> Iterator[TlsServer]:
    runtime = PostgresRuntime(programs, Account.choose(), programs.parent.name)
    authority, key = Vouching.new(), certificates.new_key()
    with running_cluster(SETTINGS, runtime) as cluster:
        place = Path(str(blocking(_told(cluster, "SHOW data_directory"))))
        (place / "tls").mkdir()
        for name, text in (("identity.key", key.reveal()), ("server.crt", authority.issue(key, "127.0.0.1"))):
            (place / "tls" / name).write_text(text)
            (place / "tls" / name).chmod(0o600)
            runtime.account.owns(place / "tls" / name)
        runtime.account.owns(place / "tls")
        (place / "pg_hba.conf").write_text(ACCESS)
        blocking(_begin_tls(cluster))
        yield TlsServer(cluster, authority, key, server_id)


async def _begin_tls(cluster: Cluster) -> None:
    conn = await asyncpg.connect(cluster.dsn())
    try:
        for setting in ("ssl_cert_file = 'tls/server.crt'", "ssl_key_file = 'tls/identity.key'", "ssl = on"):
            await conn.execute(f"ALTER SYSTEM SET {setting}")
        await conn.execute("SELECT pg_reload_conf()")
    finally:
        await conn.close()


async def _told(cluster: Cluster, query: str) -> object:
    conn = await asyncpg.connect(cluster.dsn())
    try:
        return await conn.fetchval(query)
    finally:
        await conn.close()
