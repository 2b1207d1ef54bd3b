"""Retire an empty server."""

from database_service.deps import Deps
from database_service.domain.errors import ServerNotFound
from database_service.domain.ids import ServerId, Who
from database_service.domain.servers import Server, Status
from database_service.reconcilers.retiring import retire_in
from database_service.store import servers


async def retire(deps: Deps, server_id: ServerId, who: Who) -> Server:
    """Asked again, the same answer. Raises ServerNotFound, and ServerNotEmpty while it holds anybody's database."""
    async with deps.db.transaction() as conn:
        server = await servers.lock(conn, server_id)
        if server is None:
            raise ServerNotFound(server_id)
        if server.status in (Status.DEPROVISIONING, Status.GONE):
            return server
        retired = await retire_in(conn, deps, server, who, why=None)
    deps.nudge.server(server_id)
    return retired
