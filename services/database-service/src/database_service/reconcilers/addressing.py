"""From a server's row to an administrator's address, and what follows when nobody answers there."""

from database_service.deps import Deps
from database_service.domain.errors import TenantServerUnavailable
from database_service.domain.ids import ServerId
from database_service.domain.servers import Address, Server
from database_service.domain.tenancy import Admin
from database_service.store import servers


def admin_of(deps: Deps, server: Server, address: Address | None = None) -> Admin:
    """How to log in to this server; `address` where it was just seen, else where the row says."""
    at = address or server.address
    if at is None:
        raise TenantServerUnavailable(f"the server {server.name} has no address yet")
    return Admin(
        server_id=server.id,
        host=at.host,
        port=at.port,
        user=server.admin_user,
        password=deps.secrets.open(server.admin_password_sealed, server.id),
        roots=server.tls.roots if server.tls else None,
    )


async def suspect(deps: Deps, server_id: ServerId) -> None:
    """Somebody could not log in there: it is looked at now and not only when its health check is due, as spares on it are
    handed out until it is known to be ill."""
    async with deps.db.connection() as conn:
        await servers.make_due(conn, server_id, deps.now())
    deps.nudge.server(server_id)
