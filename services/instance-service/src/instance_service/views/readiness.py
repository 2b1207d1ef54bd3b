"""Does our own database answer, and is anybody doing the work that is due?"""

from datetime import timedelta

from instance_service.deps import Deps

OVERDUE = "SELECT greatest(interval '0', $1 - min(due_at)) FROM instances WHERE due_at IS NOT NULL"


async def overdue(deps: Deps) -> timedelta:
    """How long the oldest due row has waited; zero when nothing is due. OwnDatabaseUnavailable if nobody can tell."""
    async with deps.db.reading() as conn:
        waited: timedelta | None = await conn.fetchval(OVERDUE, deps.now())
    return waited or timedelta(0)
