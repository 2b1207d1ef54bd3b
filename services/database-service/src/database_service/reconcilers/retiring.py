"""The end of a server: only an empty one goes, exactly, whatever is being claimed or reserved on it at that moment."""

from database_service.deps import Deps
from database_service.domain.databases import Status as DatabaseStatus
from database_service.domain.errors import ServerNotEmpty
from database_service.domain.ids import Who
from database_service.domain.plans import ServerType
from database_service.domain.servers import Server, Status
from database_service.store import databases, events, servers, slots
from database_service.store.pool import Conn


async def retire_in(conn: Conn, deps: Deps, server: Server, who: Who, why: str | None) -> Server:
    """Close a locked server for good. Raises ServerNotEmpty while it holds anybody's database, or one comes.

    First the free slots go, which waits for reservations in flight; then every database is locked, which waits for claims in
    flight. What comes later finds no slot and no spare.
    """
    now = deps.now()
    await slots.remove_free(conn, server.id)
    held = await databases.lock_all_on(conn, server.id)
    if tenants := [d for d in held if d.ask is not None or d.status is DatabaseStatus.LANDING]:
        raise ServerNotEmpty(server.name, len(tenants))
    await _send_away_spares(conn, server, deps, who)
    keep_until = now + deps.policy.dedicated_data_grace if server.server_type is ServerType.DEDICATED else None
    retired = await servers.deprovision(conn, server.id, now, keep_until)
    await events.append(
        conn, at=now, who=who, action="server.retired", subject="server", subject_id=server.id,
        before=server.status, after=Status.DEPROVISIONING, why=why,
    )  # fmt: skip
    return retired


async def _send_away_spares(conn: Conn, server: Server, deps: Deps, who: Who) -> None:
    if server.provisioner == "external":
        await databases.purge_spares_on(conn, server.id, who, deps.now())
        return
    await slots.remove_all(conn, server.id)
    await databases.forget_on(conn, server.id, who, deps.now())
