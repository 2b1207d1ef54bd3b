"""Cordon: no new databases on this server, whatever is there goes on."""

from database_service.deps import Deps
from database_service.domain.errors import ServerNotFound
from database_service.domain.ids import ServerId, Who
from database_service.domain.servers import Server
from database_service.store import events, servers


async def cordon(deps: Deps, server_id: ServerId, who: Who, reason: str | None = None) -> Server:
    """Raises ServerNotFound. Cordoning a cordoned one changes its reason."""
    return await _set(deps, server_id, who, cordoned=True, reason=reason)


async def uncordon(deps: Deps, server_id: ServerId, who: Who) -> Server:
    server = await _set(deps, server_id, who, cordoned=False, reason=None)
    deps.nudge.capacity()
    return server


async def _set(deps: Deps, server_id: ServerId, who: Who, *, cordoned: bool, reason: str | None) -> Server:
    now = deps.now()
    async with deps.db.transaction() as conn:
        before = await servers.lock(conn, server_id)
        after = await servers.set_cordon(conn, server_id, cordoned=cordoned, reason=reason, now=now)
        if before is None or after is None:
            raise ServerNotFound(server_id)
        if before.cordoned != after.cordoned:
            await events.append(
                conn, at=now, who=who, action="server.cordoned" if cordoned else "server.uncordoned", subject="server",
                subject_id=server_id, before=before.status, after=after.status, why=reason,
            )  # fmt: skip
    return after
