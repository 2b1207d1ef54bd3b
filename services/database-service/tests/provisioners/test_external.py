"""Servers somebody else runs: we look and forget."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import asyncpg
import pytest

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.ids import ServerId
from database_service.domain.servers import Address, Presence
from database_service.provisioners.external import ExternalProvisioner
from support.cluster import Cluster, free_port
from support.local_servers import a_spec


def at(address: Address | None) -> ExternalProvisioner:
    async def address_of(_: ServerId) -> Address | None:
        return address

    return ExternalProvisioner(address_of)


@contextmanager
def full_listener() -> Iterator[Address]:
    """A port whose queue is full and never emptied: the kernel drops who else knocks."""
    with ExitStack() as open_ones:
        listener = open_ones.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            caller = open_ones.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield Address("127.0.0.1", listener.getsockname()[1])


async def test_a_foreign_server_that_is_down_is_left_to_its_owner() -> None:
    with pytest.raises(ProvisioningFailed, match="somebody else, who has to start it"):
        await at(Address("127.0.0.1", free_port())).ensure(a_spec())


async def test_a_foreign_server_outlives_its_removal(tenant_cluster: Cluster) -> None:
    provisioner = at(Address(tenant_cluster.host, tenant_cluster.port))
    spec = a_spec()
    await provisioner.remove(spec.id, keep_data=False)
    assert (await provisioner.observe(spec.id)).presence is Presence.RUNNING
    await (await asyncpg.connect(tenant_cluster.dsn())).close()


async def test_a_host_that_swallows_packets_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("database_service.provisioners.external.LOOK_TIMEOUT_S", 0.05)
    with full_listener() as address:
        seen = await at(address).observe(a_spec().id)
    assert seen.presence is Presence.UNKNOWN
    assert f":{address.port} does not answer" in seen.why
