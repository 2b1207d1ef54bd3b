"""A look at every active server; one that does not answer holds up none of the others."""

from collections.abc import Awaitable, Callable

import structlog

from database_service.deps import Deps
from database_service.domain.errors import ServiceError, TenantServerUnavailable
from database_service.domain.servers import Server
from database_service.reconcilers.addressing import suspect
from database_service.reconcilers.capacity import in_parallel
from database_service.store import servers

log = structlog.get_logger(__name__)


async def on_every_server(deps: Deps, look: Callable[[Deps, Server], Awaitable[int]], otherwise: str) -> int:
    """The sum of what the looks return. `otherwise` is what is told of a server that could not be looked at."""
    async with deps.db.connection() as conn:
        active = await servers.active(conn)
    counted: list[int] = []

    async def one(server: Server) -> None:
        try:
            counted.append(await look(deps, server))
        except ServiceError as e:
            log.info(otherwise, server_id=str(server.id), error=str(e))
            if isinstance(e, TenantServerUnavailable):
                await suspect(deps, server.id)

    await in_parallel(deps, active, one)
    return sum(counted)
