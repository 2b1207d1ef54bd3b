"""How a database stands with the storage of its plan: judged from its last known size, and told of where that changed."""

from datetime import datetime

import structlog

from database_service.domain.databases import Database
from database_service.domain.plans import PLANS, Plan
from database_service.domain.usage import Level, Standing, Stop, judge
from database_service.domain.wording import size
from database_service.reconcilers.leasing import reconciler
from database_service.store import events, usage
from database_service.store.pool import Conn

log = structlog.get_logger(__name__)


async def judged(conn: Conn, database: Database, now: datetime) -> Stop:
    """What a database of this plan and of its last known size may not do; written down and told of where it changed.

    For who holds the row, by its lock or its lease, and records the answer in it.
    """
    before, size_bytes = await usage.standing(conn, database.id, database.plan_tier)
    if size_bytes is None:
        return Stop.NONE
    after = judge(before, size_bytes, PLANS[database.plan_tier])
    if after != before:
        await usage.stand(conn, database.id, after, now)
    if after.level is not before.level:
        await _note(conn, database, before, after, size_bytes, now)
    return after.stop


async def _note(
    conn: Conn, database: Database, before: Standing, after: Standing, size_bytes: int, now: datetime
) -> None:
    if after.level is not Level.OK:
        log.info("storage.crossed", database_id=str(database.id), level=after.level, was=before.level, bytes=size_bytes)
    await events.append(
        conn, at=now, who=reconciler(), action="database.storage_crossed", subject="database", subject_id=database.id,
        instance_id=database.instance_id, before=database.status, after=database.status,
        why=f"from {before.level} to {after.level}: {_used(size_bytes, PLANS[after.tier])}",
    )  # fmt: skip


def _used(size_bytes: int, plan: Plan) -> str:
    return f"{size(size_bytes)} of the {size(plan.storage_bytes)} of its plan"
