"""What every provisioner promises. One contract test suite runs over all of them."""

from collections.abc import Sequence
from typing import Protocol

from database_service.domain.ids import ServerId
from database_service.domain.servers import Found, Image, Seen, ServerSpec


class Provisioner(Protocol):
    """Makes, finds and removes servers. Every method may be repeated, and may be cut off at any instruction and repeated."""

    async def ensure(self, spec: ServerSpec) -> None:
        """Have the server exist and run as `spec` says, without waiting until it answers. Already so is success.

        One that runs otherwise is changed, and restarted where the change needs it: whoever has a running server's spec
        changed chooses the moment.

        Raises ProvisioningFailed with a sentence an operator can act on; never makes a second server for one id, and never
        an empty one where data should be.
        """
        ...

    async def observe(self, server_id: ServerId) -> Seen:
        """What is there now, looked up by id or label, never remembered. What cannot be looked at is UNKNOWN, not ABSENT."""
        ...

    async def remove(self, server_id: ServerId, *, keep_data: bool) -> None:
        """Stop it; with `keep_data` its data stays (STOPPED), without nothing of it stays (ABSENT). Not there is success."""
        ...

    async def differences(self, spec: ServerSpec) -> Sequence[str]:
        """What of the server is not as `spec` says, each in a few words with both values; empty where all is.

        A server that is not there differs in nothing. Raises ProvisioningFailed where it cannot be looked at.
        """
        ...

    async def look_up(self, image: str) -> Image:
        """The image a server could be changed to. Raises ProvisioningFailed where it is not to be had, where nobody can tell
        its PostgreSQL's major version, and where this provisioner runs no images."""
        ...

    async def remember(self, server_id: ServerId, text: str) -> None:
        """Keep this text beside the server, whole or not at all, in place of an earlier one; `list_ours` tells it again.

        It runs on undisturbed. One that is not there is not made for it. Raises ProvisioningFailed.
        """
        ...

    async def list_ours(self) -> Sequence[Found]:
        """Everything that carries our label, whether a row knows it or not. ProvisioningFailed where it cannot look."""
        ...
