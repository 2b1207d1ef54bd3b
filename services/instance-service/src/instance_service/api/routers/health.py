"""Is it alive, can it serve, and its numbers."""

import time
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from fastapi.responses import Response

from instance_service.api.inject import Asked, Use
from instance_service.api.rendering import answer
from instance_service.api.schemas.health import AliveOut, CheckOut, ReadyOut
from instance_service.domain.errors import Unavailable
from instance_service.observability import metrics
from instance_service.views.instances import count_by_status
from instance_service.views.readiness import overdue

Ping = Callable[[], Awaitable[None]]
"""Asks a dependency for a sign of life, briefly; Unavailable says why there was none."""

router = APIRouter(prefix="/api/instances", tags=["health"])


@router.get("/health", responses={200: {"model": AliveOut}})
async def health() -> Response:
    """Liveness: this process answers. It looks at nothing else; `/health/ready` does."""
    return answer(AliveOut())


@router.get("/health/ready", responses={200: {"model": ReadyOut}, 503: {"model": ReadyOut}})
async def ready(request: Request, deps: Use) -> Response:
    """Readiness: 503 without our own database. Without the broker work is delayed, not refused: that is `degraded`, and 200."""
    waited: list[float] = []

    async def look_at_work() -> None:
        waited.append((await overdue(deps)).total_seconds())

    database = await _check(look_at_work)
    ping: Ping | None = request.app.state.ping_broker
    broker = await _check(ping) if ping else None
    word = "unavailable" if not database.ok else "ready" if broker is None or broker.ok else "degraded"
    found = ReadyOut(status=word, own_database=database, broker=broker, overdue_seconds=waited[0] if waited else None)
    return answer(found, 200 if database.ok else 503, None if database.ok else {"Retry-After": "2"})


@router.get("/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def prometheus(asked: Asked, deps: Use) -> Response:
    """Numbers for Prometheus, of this process and of all instances."""
    metrics.show_instances(await count_by_status(deps))
    return Response(metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})


async def _check(ping: Ping) -> CheckOut:
    started = time.perf_counter()
    try:
        await ping()
        message = None
    except Unavailable as e:
        message = str(e)
    return CheckOut(ok=message is None, ms=round((time.perf_counter() - started) * 1000, 2), message=message)
