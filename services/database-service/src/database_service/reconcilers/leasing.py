"""What every step shares: the lease it works under, and what becomes of a failure."""

import random
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from database_service.deps import Deps
from database_service.domain import backoff
from database_service.store import leases


class LostLease(Exception):
    """The row changed while this step worked: its result counts for nothing, and the next step starts from what is now."""


def new_token() -> UUID:
    return uuid4()


def later(deps: Deps, attempts: int) -> datetime:
    """When to try again after this many failures in a row."""
    return deps.now() + backoff.delay(deps.policy, attempts, random.random())  # noqa: S311  spreads retries, guards nothing


async def give_back(deps: Deps, table: leases.Table, row_id: UUID, token: UUID) -> None:
    async with deps.db.connection() as conn:
        await leases.release(conn, table, row_id, token)


def said(error: BaseException, limit: int = 500) -> str:
    """An error as a sentence for `last_error`: never empty, never endless."""
    if isinstance(error, TimeoutError) and not str(error):
        return "it took too long"
    return (str(error) or type(error).__name__)[:limit]


def seconds(span: timedelta) -> float:
    return span.total_seconds()
