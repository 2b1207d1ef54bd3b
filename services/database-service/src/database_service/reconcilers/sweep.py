"""The sweep: reconcile whatever is due. It is the guarantee behind every nudge."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from database_service.deps import Deps
from database_service.domain.ids import DatabaseId, OperationId, ServerId
from database_service.reconcilers import capacity
from database_service.reconcilers import databases as database_steps
from database_service.reconcilers import operations as operation_steps
from database_service.reconcilers import servers as server_steps
from database_service.store import leases

MOST_AT_ONCE = 500
OPERATION_PATIENCE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Swept:
    """How many rows were looked at."""

    servers: int
    databases: int
    operations: int

    @property
    def quiet(self) -> bool:
        return self.servers == self.databases == self.operations == 0


async def sweep(deps: Deps) -> Swept:
    """One pass over all due rows, servers first."""
    return Swept(await sweep_servers(deps), await sweep_databases(deps), await sweep_operations(deps))


async def sweep_servers(deps: Deps) -> int:
    """Apart from the databases' sweep, which must not wait for servers that hang; returns how many were due."""
    due = await _due(deps, "servers")
    await capacity.in_parallel(deps, due, lambda row_id: server_steps.step(deps, ServerId(row_id)))
    return len(due)


async def sweep_databases(deps: Deps) -> int:
    """Due databases, then capacity; returns how many were due."""
    due = await _due(deps, "databases")
    await capacity.in_parallel(deps, due, lambda row_id: database_steps.step(deps, DatabaseId(row_id)))
    await capacity.step(deps)
    return len(due)


async def due_operations(deps: Deps) -> list[UUID]:
    """For who has no time to wait for them: a step of one may take hours."""
    return await _due(deps, "operations")


async def sweep_operations(deps: Deps) -> int:
    """Due operations, each moved on for a while; returns how many were due."""
    due = await due_operations(deps)
    await capacity.in_parallel(
        deps, due, lambda row_id: operation_steps.settle(deps, OperationId(row_id), OPERATION_PATIENCE)
    )
    return len(due)


async def _due(deps: Deps, table: leases.Table) -> list[UUID]:
    async with deps.db.connection() as conn:
        return await leases.due(conn, table, deps.now(), MOST_AT_ONCE)
