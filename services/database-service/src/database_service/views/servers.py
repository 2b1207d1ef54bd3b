"""Servers as the doors show them: the row, how full it is, and the words `full` and `maintenance` that no row holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import asyncpg

from database_service.deps import Deps
from database_service.domain.errors import ServerNotFound
from database_service.domain.ids import ServerId
from database_service.domain.plans import ServerType


class Shown(StrEnum):
    """A server's status in the words of the contract. The row knows neither `full` nor `maintenance`."""

    PROVISIONING = "provisioning"
    INITIALIZING = "initializing"
    ACTIVE = "active"
    FULL = "full"
    MAINTENANCE = "maintenance"
    ERROR = "error"
    DEPROVISIONING = "deprovisioning"
    GONE = "gone"


class Order(StrEnum):
    """In which order servers are told."""

    MADE = "made"
    """The oldest first."""
    NAME = "name"
    ROOM = "room"
    """The fullest first."""
    HEALTH = "health"
    """The ill first."""
    LOOKED_AT = "looked_at"
    """Those first that were not looked at for longest."""


class _Filter(NamedTuple):
    """What a shown status means in rows; None does not matter."""

    status: str
    cordoned: bool | None = None
    room: bool | None = None


_FILTERS: Mapping[Shown, _Filter] = {shown: _Filter(shown) for shown in Shown} | {
    Shown.ACTIVE: _Filter("active", cordoned=False, room=True),
    Shown.FULL: _Filter("active", cordoned=False, room=False),
    Shown.MAINTENANCE: _Filter("active", cordoned=True),
}


@dataclass(frozen=True, slots=True)
class ServerView:
    """One server. `used` slots hold a database or a spare; `free` ones nothing; memory is bytes."""

    id: ServerId
    seq: int
    name: str
    server_type: str
    provisioner: str
    status: str
    status_since: datetime
    health_status: str
    health_message: str | None
    last_health_check: datetime | None
    cordoned: bool
    cordon_reason: str | None
    manual: bool
    priority: int
    max_instances: int
    instance_id: str | None
    customer_id: str | None
    plan_tier: str | None
    host: str | None
    port: int | None
    postgres_version: str | None
    image: str | None
    cpu_limit: float
    memory_limit: int
    facts: Mapping[str, object]
    attempts: int
    last_error: str | None
    created_at: datetime
    updated_at: datetime
    tls_until: datetime | None
    """When its certificate ends; None where it speaks no TLS."""
    used: int
    free: int
    spares: int

    @property
    def shown(self) -> Shown:
        if self.status != "active":
            return Shown(self.status)
        if self.cordoned:
            return Shown.MAINTENANCE
        return Shown.ACTIVE if self.free else Shown.FULL


@dataclass(frozen=True, slots=True)
class ServerPage:
    """Servers in the order they were made. `total` counts all that match, not only this page."""

    servers: tuple[ServerView, ...]
    total: int
    next_after: int | None
    """The `seq` to go on from; None at the end."""


_SELECT = """
SELECT s.id, s.seq, s.name, s.server_type, s.provisioner, s.status, s.status_since, s.health_status, s.health_message,
       s.last_health_check, s.cordoned, s.cordon_reason, s.manual, s.priority, s.max_instances, s.instance_id, s.customer_id,
       s.plan_tier, s.host, s.port, s.postgres_version, s.image, s.cpu_limit, s.memory_limit, s.facts, s.attempts,
       s.last_error, s.created_at, s.updated_at,
       (SELECT c.not_after FROM certificates c WHERE c.server_id = s.id) AS tls_until, slot.used, slot.free, spare.spares
FROM servers s
CROSS JOIN LATERAL (SELECT count(database_id) AS used, count(*) - count(database_id) AS free FROM slots
                    WHERE slots.server_id = s.id) slot
CROSS JOIN LATERAL (SELECT count(*) AS spares FROM databases d WHERE d.server_id = s.id AND d.status = 'spare') spare"""

_MATCHING = """
WHERE CASE WHEN $1::text IS NULL THEN s.status <> 'gone' ELSE s.status = $1 END
  AND ($2::boolean IS NULL OR s.cordoned = $2)
  AND ($3::boolean IS NULL OR $3 = EXISTS (SELECT FROM slots f WHERE f.server_id = s.id AND f.database_id IS NULL))
  AND ($4::text IS NULL OR s.server_type = $4)"""

PAGE = f"{_SELECT} {_MATCHING} AND s.seq > $5 ORDER BY s.seq LIMIT $6"
_KEYS: Mapping[Order, str] = {
    Order.MADE: "s.seq",
    Order.NAME: "s.name",
    Order.ROOM: "(SELECT count(*) FROM slots r WHERE r.server_id = s.id AND r.database_id IS NULL)",
    Order.HEALTH: "array_position(ARRAY['unhealthy', 'degraded', 'unknown', 'healthy'], s.health_status)",
    Order.LOOKED_AT: "coalesce(s.last_health_check, '-infinity')",
}
# Servers are put in order by little, and only those on the page are looked at as a whole.
IN_ORDER = {
    order: f"""
WITH chosen AS MATERIALIZED (
  SELECT s.id AS chosen_id, {key} AS key FROM servers s {_MATCHING} ORDER BY key, s.seq LIMIT $5 OFFSET $6
)
{_SELECT} JOIN chosen ON chosen_id = s.id ORDER BY chosen.key, s.seq"""
    for order, key in _KEYS.items()
}
COUNT = f"SELECT count(*) FROM servers s {_MATCHING}"
ONE = f"{_SELECT} WHERE s.id = $1"


async def page(
    deps: Deps, *, status: Shown | None = None, server_type: ServerType | None = None, after: int = 0, limit: int = 50
) -> ServerPage:
    """Servers with `seq` beyond `after`. Without a status, all that are not gone."""
    matching = (*(_FILTERS[status] if status else (None, None, None)), server_type)
    async with deps.db.reading() as conn:
        rows = await conn.fetch(PAGE, *matching, after, limit + 1)
        total = await conn.fetchval(COUNT, *matching)
    servers = tuple(_view(row) for row in rows[:limit])
    return ServerPage(servers, total, servers[-1].seq if len(rows) > limit else None)


async def in_order(
    deps: Deps,
    order: Order,
    *,
    status: Shown | None = None,
    server_type: ServerType | None = None,
    beyond: int = 0,
    limit: int = 50,
) -> ServerPage:
    """As `page`, but for the order, in which the first `beyond` are left out."""
    matching = (*(_FILTERS[status] if status else (None, None, None)), server_type)
    async with deps.db.reading() as conn:
        rows = await conn.fetch(IN_ORDER[order], *matching, limit, beyond)
        total = await conn.fetchval(COUNT, *matching)
    return ServerPage(tuple(_view(row) for row in rows), total, None)


async def one(deps: Deps, server_id: ServerId) -> ServerView:
    """ServerNotFound where there is none; one that is gone is still shown."""
    async with deps.db.reading() as conn:
        row = await conn.fetchrow(ONE, server_id)
    if row is None:
        raise ServerNotFound(server_id)
    return _view(row)


def _view(row: asyncpg.Record) -> ServerView:
    return ServerView(**dict(row))
