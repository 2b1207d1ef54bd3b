"""TLS between us and tenant servers: whom we talk to, who is let in, and how a certificate is renewed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from database_service.dataplane.connect import unwatched
from database_service.dataplane.sessions import TenantServers
from database_service.dataplane.transfer.programs import Programs, Reach, write_passfile
from database_service.domain.errors import TenantServerUnavailable, TransferFailed
from database_service.domain.ids import ServerId
from database_service.domain.tenancy import LoginSpec
from database_service.provisioners.runtime import client_programs
from support.folders import open_folder
from support.needs import without
from support.tls_server import TlsServer, Vouching, programs_with_tls, running_tls_server

PATIENCE = timedelta(seconds=10)


@pytest.fixture(scope="module")
def server() -> Iterator[TlsServer]:
    programs = programs_with_tls()
    if programs is None:
        without("no PostgreSQL here was built with OpenSSL")
    with running_tls_server(programs, ServerId(uuid4())) as running:
        yield running


@pytest.fixture
async def tenants() -> AsyncIterator[TenantServers]:
    async with TenantServers() as sessions:
        yield sessions


async def until_shown(tenants: TenantServers, server: TlsServer, certificate: str) -> int:
    """How often it had to be written; it is read when the server comes to it."""
    written = 0
    async with asyncio.timeout(10):
        while not await tenants.install_certificate(server.admin(), certificate):
            written += 1
    return written


async def test_a_server_is_talked_to_only_where_its_authority_and_its_name_are_right(
    tenants: TenantServers, server: TlsServer
) -> None:
    assert (await tenants.probe(server.admin(), PATIENCE)).ok
    for stranger in (server.admin(Vouching.new()), server.admin(host="localhost")):
        seen = await tenants.probe(stranger, PATIENCE)
        assert (seen.ok, seen.untrusted) == (False, True), seen
        assert "is not trusted" in seen.why
        with pytest.raises(TenantServerUnavailable, match="is not trusted"):
            await tenants.ours(stranger)


async def test_a_server_with_a_certificate_of_a_stranger_gets_no_new_one(
    tenants: TenantServers, server: TlsServer
) -> None:
    """Whoever poses as it would be told who the administrator is."""
    certificate = server.authority.issue(server.key, "127.0.0.1")
    with pytest.raises(TenantServerUnavailable, match="is not trusted"):
        await tenants.install_certificate(server.admin(Vouching.new()), certificate)


async def test_nobody_gets_in_without_tls(server: TlsServer) -> None:
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="no encryption"):
        await asyncpg.connect(server.cluster.dsn(), ssl=False)


async def test_a_certificate_is_renewed_while_sessions_go_on(tenants: TenantServers, server: TlsServer) -> None:
    session = await server.connection()
    try:
        before = await session.fetchval("SELECT pg_postmaster_start_time()")
        renewed = server.authority.issue(server.key, "127.0.0.1")
        assert await until_shown(tenants, server, renewed) >= 1
        assert await session.fetchval("SELECT pg_postmaster_start_time()") == before
    finally:
        await session.close()
    assert (await tenants.probe(server.admin(), PATIENCE)).ok


async def test_a_certificate_that_has_ended_or_is_for_another_address_is_still_renewed(
    tenants: TenantServers, server: TlsServer
) -> None:
    unfit = (
        server.authority.issue(server.key, "127.0.0.1", at=datetime.now(UTC) - timedelta(days=91)),
        server.authority.issue(server.key, "elsewhere.example"),
    )
    for certificate in unfit:
        await until_shown(tenants, server, certificate)
        assert (await tenants.probe(server.admin(), PATIENCE)).untrusted
        await until_shown(tenants, server, server.authority.issue(server.key, "127.0.0.1"))
        assert (await tenants.probe(server.admin(), PATIENCE)).ok


async def test_a_new_authority_takes_over_while_the_old_one_is_still_trusted(
    tenants: TenantServers, server: TlsServer
) -> None:
    following = Vouching.new(2)
    both = server.admin(server.authority, following)
    try:
        async with asyncio.timeout(10):
            while not await tenants.install_certificate(both, following.issue(server.key, "127.0.0.1")):
                assert (await tenants.probe(both, PATIENCE)).ok
                break
            while not (await tenants.probe(server.admin(following), PATIENCE)).ok:
                assert (await tenants.probe(both, PATIENCE)).ok
        assert (await tenants.probe(server.admin(), PATIENCE)).untrusted
    finally:
        back = server.authority.issue(server.key, "127.0.0.1")
        async with asyncio.timeout(10):
            while not await tenants.install_certificate(both, back):
                pass


async def test_programs_that_speak_no_tls_reach_the_verified_server_and_no_other(server: TlsServer) -> None:
    programs = Programs(client_programs(), 1, unwatched)
    mover = LoginSpec(server.cluster.superuser, server.cluster.password)
    with open_folder() as folder:
        passfile = write_passfile(folder, mover)
        assert "PostgreSQL database dump" in await programs.schema(Reach(server.admin(), "postgres", mover, passfile))
        await programs.dump(Reach(server.admin(), "postgres", mover, passfile), folder / "dump", "none")
        assert (folder / "dump" / "toc.dat").exists()
        with pytest.raises(TransferFailed):
            await programs.schema(Reach(server.admin(Vouching.new()), "postgres", mover, passfile))
