"""ExternalProvisioner: servers somebody else runs. We look, and we forget; we never start, stop or delete one."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.ids import ServerId
from database_service.domain.servers import Address, Found, Image, Presence, Seen, ServerSpec

LOOK_TIMEOUT_S = 2.0

AddressOf = Callable[[ServerId], Awaitable[Address | None]]
"""Where a server was adopted, as its row says; None where it is unknown or was forgotten."""


class ExternalProvisioner:
    """What can be known without a login: whether something accepts connections at the address of its row."""

    def __init__(self, address_of: AddressOf) -> None:
        self._address_of = address_of

    async def ensure(self, spec: ServerSpec) -> None:
        """Nothing to do where it runs. ProvisioningFailed where it does not: its owner has to start it."""
        seen = await self.observe(spec.id)
        if seen.presence is not Presence.RUNNING:
            raise ProvisioningFailed(
                f"The server {spec.name} is run by somebody else, who has to start it: {seen.complaint}."
            )

    async def observe(self, server_id: ServerId) -> Seen:
        address = await self._address_of(server_id)
        return await _look(address) if address else Seen(Presence.ABSENT)

    async def remove(self, server_id: ServerId, *, keep_data: bool) -> None:
        """Nothing: to forget is the row's business, and its data was never ours."""

    async def differences(self, spec: ServerSpec) -> Sequence[str]:
        """None: how it is set up is its owner's business."""
        return ()

    async def look_up(self, image: str) -> Image:
        raise ProvisioningFailed("A server that somebody else runs gets its programs from its owner, not as an image.")

    async def remember(self, server_id: ServerId, text: str) -> None:
        """Nothing: there is no place of ours beside it."""

    async def list_ours(self) -> Sequence[Found]:
        """None: what somebody else runs carries no label of ours."""
        return ()


async def _look(address: Address) -> Seen:
    where = f"{address.host}:{address.port}"
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            _, writer = await asyncio.open_connection(address.host, address.port)
    except ConnectionRefusedError:
        return Seen(Presence.STOPPED, address, why=f"{where} refuses connections")
    except TimeoutError:
        return Seen(Presence.UNKNOWN, address, why=f"{where} does not answer within {LOOK_TIMEOUT_S:.0f} s")
    except socket.gaierror:
        return Seen(Presence.UNKNOWN, address, why=f"the name {address.host} does not resolve")
    except OSError as e:
        return Seen(
            Presence.UNKNOWN, address, why=f"{where} cannot be reached: {e.strerror or 'several addresses failed'}"
        )
    writer.close()
    return Seen(Presence.RUNNING, address)
