"""Check a server's health now."""

from database_service.admission.gate import Why, aside
from database_service.deps import Deps
from database_service.domain.errors import ServerNotFound
from database_service.domain.ids import ServerId, Who
from database_service.domain.servers import Server, Status
from database_service.reconcilers import servers as server_steps
from database_service.store import events, servers


async def check(deps: Deps, server_id: ServerId, who: Who) -> Server:
    """The server as it is after a look at it, or as its row says where somebody is just looking.

    Raises ServerNotFound, Overloaded.
    """
    now = deps.now()
    async with deps.db.transaction() as conn:
        server = await servers.get(conn, server_id)
        if server is None or server.status is Status.GONE:
            raise ServerNotFound(server_id)
        await servers.make_due(conn, server_id, now)
        await events.append(
            conn, at=now, who=who, action="server.check_asked_for", subject="server", subject_id=server_id,
            before=server.status, after=server.status,
        )  # fmt: skip
    with aside(Why.SERVER):
        checked = await server_steps.step(deps, server_id, only_look=True)
    deps.nudge.server(server_id)
    return checked or server
