"""TLS where servers are services of a real Swarm, on an image whose PostgreSQL was built with OpenSSL."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from database_service.actions.allocate import allocate
from database_service.actions.authorities import rotate_authority
from database_service.actions.change_servers import roll_out
from database_service.actions.rebuild import rebuild
from database_service.domain.answers import Allocation
from database_service.domain.operations import State, Target
from database_service.domain.servers import Server
from database_service.reconcilers import registers
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.certifying import add_authority
from support.cluster import Cluster, fresh_database
from support.house import WHO, House, ask, login
from support.lab_images import TLS_POSTGRES, have_tls_base
from support.needs import without
from support.swarm_lab import Lab
from support.swarm_servers import a_pool, open_swarm_house
from support.tls_server import Vouching, programs_with_tls

pytestmark = pytest.mark.docker


@pytest.fixture(scope="session")
def tls_image(swarm_lab: Lab) -> str:
    programs = programs_with_tls()
    if programs is None:
        without("no PostgreSQL here was built with OpenSSL")
    base = have_tls_base(swarm_lab.manager, programs)
    swarm_lab.build(Path("infrastructure/images/postgres"), TLS_POSTGRES, BASE=base)
    return TLS_POSTGRES


@pytest.fixture
async def house(
    healthy_swarm: Lab, control_dsn: str, tenant_cluster: Cluster, tls_image: str, storage: Path
) -> AsyncIterator[House]:
    async with open_swarm_house(healthy_swarm, control_dsn, tenant_cluster, tls_image, storage) as plain:
        yield plain


async def started_at(house: House, server: Server) -> object:
    seen = await house.deps.tenants.probe(admin_of(house.deps, server), timedelta(seconds=10))
    assert seen.ok, seen.why
    return seen.facts["started_at"]


def by_name(name: str, allocated: Allocation, folder: Path) -> "subprocess.CompletedProcess[str]":
    """As a client on the Swarm's network would verify it: by the server's own name."""
    passfile, roots = folder / "pgpass", folder / "ca.pem"
    passfile.write_text(f"*:*:*:*:{allocated.password.reveal()}\n")
    passfile.chmod(0o600)
    roots.write_text(allocated.roots or "")
    told = {
        "host": name, "hostaddr": allocated.address.host, "port": allocated.address.port,
        "user": allocated.login.role, "dbname": allocated.database.name,
        "sslmode": "verify-full", "sslrootcert": roots, "passfile": passfile,
    }  # fmt: skip
    conninfo = " ".join(f"{name}={value}" for name, value in told.items())
    return subprocess.run(
        ["psql", "--no-psqlrc", "-Atc", "SELECT true", conninfo],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


async def test_a_tenant_and_we_verify_the_server_and_a_new_authority_takes_over_while_it_runs(
    house: House, tmp_path: Path
) -> None:
    house = house.with_policy(tls=True)
    server = await a_pool(house)
    allocated = await allocate(house.deps, ask(), WHO)
    assert isinstance(allocated, Allocation)
    assert allocated.roots
    trusting = ssl.create_default_context(cadata=allocated.roots)
    session = await login(allocated, ssl=trusting)
    told = by_name(server.name, allocated, tmp_path)
    assert told.stdout == "t\n", told.stderr
    assert "does not match host name" in by_name("pool-other", allocated, tmp_path).stderr
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="no encryption"):
        await login(allocated, ssl=False)
    with pytest.raises(ssl.SSLCertVerificationError):
        await login(allocated, ssl=ssl.create_default_context(cadata=Vouching.new().certificate))

    began = await started_at(house, server)
    await rotate_authority(house.deps, WHO, overlap=timedelta())
    server = await house.server(server.id)
    await until_certified(house, server)
    assert await started_at(house, await house.server(server.id)) == began
    assert await session.fetchval("SELECT 1") == 1
    await session.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        await login(allocated, ssl=trusting)


async def until_certified(house: House, server: Server) -> None:
    """It shows a certificate of the newest authority, which alone is trusted then."""
    async with asyncio.timeout(30):
        while True:
            found = await house.server(server.id)
            assert found.tls
            if found.tls.installed and len(found.tls.authorities) == 1:
                return
            await house.later(house.deps.policy.health_interval)


async def test_a_server_without_tls_gets_it_by_a_rollout_and_keeps_its_databases(house: House) -> None:
    server = await a_pool(house)
    allocated = await allocate(house.deps, ask(), WHO)
    assert isinstance(allocated, Allocation)
    assert allocated.roots is None
    conn = await login(allocated, ssl=False)
    await conn.close()
    operation = await roll_out(house.deps, WHO, [server.id], Target(tls=True))
    assert (await house.finished(operation.id)).state is State.SUCCEEDED
    again = await allocate(house.deps, replace(allocated.database.ask), WHO)  # type: ignore[type-var]
    assert isinstance(again, Allocation)
    conn = await login(again, ssl=ssl.create_default_context(cadata=again.roots))
    await conn.close()
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="no encryption"):
        await login(allocated, ssl=False)


async def test_what_the_world_remembers_is_entered_and_its_authority_stays_trusted_beside_a_newer_one(
    house: House, healthy_swarm: Lab, cluster: Cluster, control_template: str, storage: Path
) -> None:
    """The control database is lost, and the new one has made an authority of its own before it was told to look around."""
    house = house.with_policy(tls=True, allocate_budget=timedelta(seconds=30))
    pool = await a_pool(house)
    allocated = await allocate(house.deps, ask("shop"), WHO)
    assert isinstance(allocated, Allocation)
    trusting = ssl.create_default_context(cadata=allocated.roots)
    await registers.keep(house.deps, registers.Written())
    with fresh_database(cluster, control_template) as name:
        async with open_swarm_house(
            healthy_swarm, cluster.dsn(name), house.tenant, TLS_POSTGRES, storage, house.clock
        ) as plain:
            other = plain.with_policy(tls=True, allocate_budget=timedelta(seconds=30))
            async with other.deps.db.transaction() as conn:
                newer = await add_authority(conn, other.deps, (), timedelta())
            await rebuild(other.deps, [])
            await other.until_quiet()
            found = await other.server(pool.id)
            assert found.tls
            assert newer in found.tls.authorities
            again = await allocate(other.deps, ask("shop"), WHO)
            assert isinstance(again, Allocation)
            assert again.database.name == allocated.database.name
            conn = await login(again, ssl=trusting)
            await conn.close()
