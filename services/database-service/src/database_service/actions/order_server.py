"""Order a pool: the row is the order."""

from database_service.deps import Deps
from database_service.domain.ids import Who
from database_service.domain.servers import Server
from database_service.reconcilers.ordering import Order, new_shared
from database_service.store import servers
from database_service.store.pool import Conn


async def order_pool(
    deps: Deps,
    who: Who,
    *,
    max_instances: int | None = None,
    cpu_limit: float | None = None,
    memory_limit: int | None = None,
    priority: int = 0,
    manual: bool = False,
    request_key: str | None = None,
) -> Server:
    """A new shared server, stored and on its way. The same `request_key` orders one, however often it is sent.

    `memory_limit` is bytes, `cpu_limit` CPUs; None takes what the settings say.
    """
    key = f"order:{request_key}" if request_key else None
    order = Order(
        max_instances=max_instances, cpu_limit=cpu_limit, memory_limit=memory_limit, priority=priority, manual=manual,
        request_key=key,
    )  # fmt: skip
    async with deps.db.transaction() as conn:
        server = await new_shared(conn, deps, who, order) or await _ordered_before(conn, key)
    deps.nudge.server(server.id)
    return server


async def _ordered_before(conn: Conn, request_key: str | None) -> Server:
    server = await servers.by_request_key(conn, request_key) if request_key else None
    if server is None:
        raise LookupError("an order without a request key conflicts with nothing")
    return server
