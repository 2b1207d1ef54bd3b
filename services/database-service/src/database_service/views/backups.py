"""Backups of the control plane: when the last one was made."""

from dataclasses import dataclass
from datetime import datetime

from database_service.deps import Deps


@dataclass(frozen=True, slots=True)
class LastBackup:
    """`made_at` is None where none was noted; `since` is since when there is something to back up."""

    made_at: datetime | None
    since: datetime | None


LAST = """
SELECT (SELECT max(made_at) FROM backups) AS made_at, (SELECT at FROM events ORDER BY id LIMIT 1) AS since"""


async def last(deps: Deps) -> LastBackup:
    row = await deps.db.row(LAST)
    return LastBackup(**dict(row)) if row else LastBackup(None, None)


def overdue(found: LastBackup, deps: Deps) -> bool:
    """Whether somebody should know."""
    within, from_when = deps.policy.backup_within, found.made_at or found.since
    return bool(within) and from_when is not None and deps.now() - from_when > within
