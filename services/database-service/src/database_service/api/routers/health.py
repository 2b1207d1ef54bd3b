"""Is it alive, can it serve, and its numbers."""

import time
from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter, Request
from fastapi.responses import Response

from database_service.admission.sharing import Shared
from database_service.api.inject import MetricsReader, Use
from database_service.api.rendering import answer
from database_service.api.schemas.admin import AliveOut, CheckOut, ReadyOut
from database_service.deps import Deps
from database_service.domain.errors import Unavailable
from database_service.observability import metrics
from database_service.observability.metrics import Fleet
from database_service.views import backups
from database_service.views.backups import LastBackup
from database_service.views.drift import count_by_kind
from database_service.views.readiness import overdue
from database_service.views.stats import Stats, stats
from database_service.views.usage import count_by_level

Ping = Callable[[], Awaitable[None]]
"""Asks a dependency for a sign of life, briefly; Unavailable says why there was none."""

router = APIRouter(prefix="/api/database", tags=["health"])


@router.get("/health", responses={200: {"model": AliveOut}})
async def health() -> Response:
    """Liveness: this process answers. It looks at nothing else; `/health/ready` does."""
    return answer(AliveOut())


@router.get("/health/ready", responses={200: {"model": ReadyOut}, 503: {"model": ReadyOut}})
async def ready(request: Request, deps: Use) -> Response:
    """Readiness: 503 without our own database. Without the broker work is delayed, not refused: that is `degraded`, and 200."""
    looking: Shared[ReadyOut] = request.app.state.readiness
    found = await looking.shared(lambda: _look(deps, request.app.state.ping_broker))
    serves = found.control_database.ok
    return answer(found, 200 if serves else 503, None if serves else {"Retry-After": "2"})


async def _look(deps: Deps, ping: Ping | None) -> ReadyOut:
    waited: list[float] = []

    async def look_at_work() -> None:
        waited.append((await overdue(deps)).total_seconds())

    database = await _check(look_at_work)
    broker = await _check(ping) if ping else None
    word = "unavailable" if not database.ok else "ready" if broker is None or broker.ok else "degraded"
    return ReadyOut(
        status=word, control_database=database, broker=broker, overdue_seconds=waited[0] if waited else None
    )


@router.get("/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def prometheus(asked: MetricsReader, deps: Use) -> Response:
    """Numbers for Prometheus, of this process and of the fleet."""
    backup = await backups.last(deps)
    metrics.show_fleet(_fleet(await stats(deps), await count_by_kind(deps), await count_by_level(deps), backup))
    return Response(metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})


async def _check(ping: Ping) -> CheckOut:
    started = time.perf_counter()
    try:
        await ping()
        message = None
    except Unavailable as e:
        message = str(e)
    return CheckOut(ok=message is None, ms=round((time.perf_counter() - started) * 1000, 2), message=message)


def _fleet(now: Stats, drift: Mapping[str, int], full: Mapping[str, int], backup: LastBackup) -> Fleet:
    servers: dict[tuple[str, str], int] = {}
    for group in now.groups:
        key = (group.status, group.health_status)
        servers[key] = servers.get(key, 0) + group.servers
    return Fleet(
        servers=servers,
        slots_free=now.free,
        slots_used=now.used,
        databases=now.databases,
        drift=drift,
        full=full,
        backup_at=backup.made_at.timestamp() if backup.made_at else 0,
    )
