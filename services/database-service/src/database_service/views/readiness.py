"""Does our own database answer, and is anybody doing the work that is due?"""

from datetime import timedelta

from database_service.deps import Deps

OVERDUE = """
SELECT greatest(interval '0', $1 - least((SELECT min(due_at) FROM servers WHERE due_at IS NOT NULL),
                                         (SELECT min(due_at) FROM databases WHERE due_at IS NOT NULL),
                                         (SELECT min(due_at) FROM operations WHERE due_at IS NOT NULL)))"""


async def overdue(deps: Deps) -> timedelta:
    """How long the oldest due row has waited; zero when nothing is due. ControlDatabaseUnavailable if nobody can tell."""
    async with deps.db.reading() as conn:
        waited: timedelta | None = await conn.fetchval(OVERDUE, deps.now())
    return waited or timedelta(0)
