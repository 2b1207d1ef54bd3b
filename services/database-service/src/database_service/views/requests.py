"""The request log, newest first."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from database_service.deps import Deps
from database_service.store.pool import PLANNED_ANEW


@dataclass(frozen=True, slots=True)
class RequestView:
    """One request. Bodies are what may be kept of them; None: nothing may, or it was too long."""

    id: int
    at: datetime
    request_id: str
    token_id: UUID | None
    token_name: str | None
    method: str
    endpoint: str
    instance_id: str | None
    customer_id: str | None
    status: int
    ms: float
    code: str | None
    request_body: Mapping[str, Any] | None
    response_body: Mapping[str, Any] | None

    @property
    def place(self) -> "Place":
        return Place(self.at, self.id)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the log a request is."""

    at: datetime
    id: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which requests; None: whatever it is. `since` counts itself, `until` does not."""

    since: datetime | None = None
    until: datetime | None = None
    endpoint: str | None = None
    status: int | None = None
    errors: bool = False
    """Only those with a status from 400."""
    token_id: UUID | None = None
    instance_id: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class RequestPage:
    requests: tuple[RequestView, ...]
    next_before: Place | None
    """Where to go on from; None at the end."""


PAGE = """
SELECT id, at, request_id, token_id, token_name, method, endpoint, instance_id, customer_id, status, ms::float8 AS ms, code,
  request_body, response_body
FROM requests
WHERE ($1::timestamptz IS NULL OR (at, id) < ($1, $2::bigint)) AND ($3::timestamptz IS NULL OR at >= $3)
  AND ($4::timestamptz IS NULL OR at < $4) AND ($5::text IS NULL OR endpoint = $5) AND ($6::int IS NULL OR status = $6)
  AND (NOT $7::boolean OR status >= 400) AND ($8::uuid IS NULL OR token_id = $8) AND ($9::text IS NULL OR instance_id = $9)
  AND ($10::text IS NULL OR request_id = $10)
ORDER BY at DESC, id DESC LIMIT $11"""


async def page(deps: Deps, wanted: Wanted, *, before: Place | None = None, limit: int = 50) -> RequestPage:
    """Requests that came before that place, of those that are wanted."""
    async with deps.db.reading() as conn:
        await conn.execute(PLANNED_ANEW)
        rows = await conn.fetch(
            PAGE,
            before and before.at,
            before and before.id,
            wanted.since,
            wanted.until,
            wanted.endpoint,
            wanted.status,
            wanted.errors,
            wanted.token_id,
            wanted.instance_id,
            wanted.request_id,
            limit + 1,
        )
    found = tuple(RequestView(**dict(row)) for row in rows[:limit])
    return RequestPage(found, found[-1].place if len(rows) > limit else None)
