"""Ports of servers that are reached at an address of a machine."""

from collections.abc import Iterator

from database_service.domain.ids import ServerId

PORTS = range(21000, 32000)
"""Below those Linux gives to outgoing connections (32768…): none of them may take a server's port while it restarts."""


def candidates(server_id: ServerId, ports: range = PORTS) -> Iterator[int]:
    """All of them, each server beginning elsewhere, so that few look at the same one."""
    first = server_id.int % len(ports)
    yield from ports[first:]
    yield from ports[:first]
