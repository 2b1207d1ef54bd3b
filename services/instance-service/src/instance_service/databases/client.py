"""Databases from database-service, over its client."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from math import ceil
from typing import Any
from uuid import UUID

import structlog

from database_service_client import AsyncDatabaseService, AsyncOperation, Retries, request_id
from database_service_client.errors import (
    ApiError,
    DatabaseGone,
    DatabaseMoving,
    DatabaseNotFound,
    DatabaseNotReady,
    DatabaseReleased,
    DatabaseServiceError,
    Forbidden,
    NotReadyYet,
    SamePlan,
    Unauthenticated,
)
from database_service_client.models import Database
from instance_service.domain.databases import DatabaseSeen, Following, State
from instance_service.domain.errors import DatabaseRefused, DatabasesUnavailable
from instance_service.domain.ids import CustomerId
from instance_service.domain.plans import Tier
from instance_service.domain.secret import Secret
from instance_service.domain.workloads import Address, Login

ONE_QUICK_REPETITION = Retries(most=1, budget_s=5)
"""The row is what asks again: a step must not hang on a service that is away."""

_STATES = {"ready": State.READY, "moving": State.MOVING, "purged": State.ENDED}
_STATES |= dict.fromkeys(("releasing", "released"), State.ENDED)

_PASSING = (DatabaseMoving, DatabaseNotReady, Unauthenticated, Forbidden)
"""What is no answer to this instance, but a state of things: a database that is busy, a token that is not there yet."""


class DatabaseServiceDatabases:
    """A `Databases`. `service` is opened and closed by whoever made it."""

    def __init__(self, service: AsyncDatabaseService) -> None:
        self._service = service

    async def allocate(self, instance_id: str, customer_id: CustomerId, tier: Tier) -> DatabaseSeen:
        with _told():
            try:
                made = await self._service.allocate(instance_id, customer_id, tier.value, wait=0)
            except NotReadyYet as pending:
                return DatabaseSeen(State.COMING, detail=f"its database is {pending.database_status}")
            return DatabaseSeen(
                State.READY, Address(made.db_host, made.db_port), made.db_name, made.db_user, made.ssl_root_cert
            )

    async def look(self, instance_id: str, wait: timedelta = timedelta()) -> DatabaseSeen:
        with _told():
            try:
                return _seen(await self._service.status(instance_id, wait=ceil(wait.total_seconds())))
            except DatabaseNotFound:
                return DatabaseSeen(State.ABSENT)
            except (DatabaseGone, DatabaseReleased) as ended:
                return DatabaseSeen(State.ENDED, detail=ended.detail)

    async def login(self, instance_id: str) -> Login:
        with _told():
            found = await self._service.credentials(instance_id)
            password = Secret(found.db_password)
            address = Address(found.db_host, found.db_port)
            return Login(address, found.db_name, found.db_user, password, found.ssl_root_cert)

    async def rotate(self, instance_id: str, key: UUID, overlap: timedelta) -> bool:
        seconds = ceil(overlap.total_seconds())
        with _told():
            try:
                await self._service.rotate(instance_id, overlap_seconds=seconds, key=key.hex, wait=0)
            except NotReadyYet:
                return False
            return True

    async def change_plan(self, instance_id: str, tier: Tier, key: UUID) -> Following:
        with _told():
            try:
                return _following(await self._service.change_plan(instance_id, tier.value, key=key.hex))
            except SamePlan:
                return Following(None, over=True)

    async def follow(self, operation_id: UUID) -> Following:
        with _told():
            return _following(await self._service.operations.get(operation_id))

    async def release(self, instance_id: str, why: str) -> None:
        with _told():
            try:
                await self._service.release(instance_id, why=why)
            except (DatabaseNotFound, DatabaseGone):
                return


@contextmanager
def _told() -> Iterator[None]:
    """Its errors as ours, and our request's id with what is asked."""
    ours: Any = structlog.contextvars.get_contextvars().get("request_id")
    try:
        if not ours:
            yield
            return
        with request_id(ours):
            yield
    except ApiError as e:
        if e.passing or isinstance(e, _PASSING) or e.status >= 500:
            raise DatabasesUnavailable(str(e)) from e
        raise DatabaseRefused(e.code, e.detail) from e
    except DatabaseServiceError as e:
        raise DatabasesUnavailable(str(e)) from e


def _seen(found: Database) -> DatabaseSeen:
    """The newest login that works is the one whose credentials are told."""
    state = _STATES.get(found.status, State.COMING)
    user = next((login.db_user for login in found.logins if login.state == "active"), None)
    address = found.address
    detail = f"its database is {found.status}" + (f": {found.last_error}" if found.last_error else "")
    at = Address(address.db_host, address.db_port) if address else None
    return DatabaseSeen(state, at, found.db_name, user, found.ssl_root_cert, detail)


def _following(found: AsyncOperation) -> Following:
    failed = (
        None if found.state in ("pending", "running", "paused", "succeeded") else found.error or f"it is {found.state}"
    )
    step = found.step
    progress: dict[str, object] = {"operation_id": str(found.id), "state": found.state}
    if step and step.progress:
        progress |= {"phase": step.progress.phase, "fraction": step.progress.fraction}
    return Following(found.id, found.over, failed, progress)
