"""TenantServers: the one implementation of the port `Tenants`, on real servers through asyncpg."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from database_service.dataplane import (
    administrators,
    certifying,
    databases,
    enforce,
    hardening,
    probe,
    register,
    roles,
    stopping,
    strays,
    usage,
)
from database_service.dataplane.connect import AdminSessions, OnStatement, Patience, Raced, unwatched
from database_service.domain.ids import ServerId
from database_service.domain.plans import Limits
from database_service.domain.register import Entry, Registered
from database_service.domain.servers import Probe
from database_service.domain.tenancy import Admin, Inventory, LoginSpec, Ours, Overrun, TenantSpec
from database_service.domain.usage import Asked, Sample, Stop
from database_service.secretbox import scram_verifier

P = ParamSpec("P")
T = TypeVar("T")

BUILD_WIDTH = 4
_WHEN_RACED = AsyncRetrying(
    retry=retry_if_exception_type(Raced), stop=stop_after_attempt(6), wait=wait_random(0, 0.05), reraise=True
)


def _again_when_raced(effect: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Two who ensure the same thing in the same moment: the loser looks again and finds it there."""

    @wraps(effect)
    async def patiently(*args: P.args, **kwargs: P.kwargs) -> T:
        return await _WHEN_RACED.copy()(effect, *args, **kwargs)

    return patiently


class TenantServers:
    """Implements Tenants. Use it with `async with`, or call `aclose()` at the end.

    `width` is how many sessions one server sees from this process at once. `on_statement` is called around every effect,
    with the moment and the statement's template; what it raises cuts the work off there, as a dying process would.
    """

    def __init__(
        self, width: int = BUILD_WIDTH, patience: Patience | None = None, on_statement: OnStatement = unwatched
    ) -> None:
        self._patience = patience or Patience()
        self._on_statement = on_statement
        self._sessions = AdminSessions(width, self._patience, on_statement)
        self._dropping: defaultdict[ServerId, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __aenter__(self) -> "TenantServers":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._sessions.aclose()

    async def probe(self, admin: Admin, timeout: timedelta) -> Probe:
        return await probe.probe(admin, timeout)

    @_again_when_raced
    async def harden(self, admin: Admin, templates: Sequence[str]) -> None:
        await hardening.harden(self._sessions, admin, templates)

    async def change_password(self, current: Admin, following: Admin) -> None:
        verifier = await asyncio.to_thread(scram_verifier, following.password)
        await self._change_password(current, following, verifier)

    @_again_when_raced
    async def _change_password(self, current: Admin, following: Admin, verifier: str) -> None:
        await administrators.change_password(current, following, verifier, self._patience, self._on_statement)

    async def install_certificate(self, admin: Admin, certificate: str) -> bool:
        return await certifying.install(admin, certificate, self._patience, self._on_statement)

    async def build(self, admin: Admin, tenant: TenantSpec) -> None:
        await self._build(admin, tenant, await roles.verifiers(tenant.logins))

    @_again_when_raced
    async def _build(self, admin: Admin, tenant: TenantSpec, verifiers: Mapping[str, str]) -> None:
        async with self._sessions.on(admin) as session:
            await databases.build(session, tenant, verifiers)

    @_again_when_raced
    async def apply_limits(self, admin: Admin, tenant: TenantSpec) -> None:
        async with self._sessions.on(admin) as session:
            await databases.apply_limits(session, tenant)

    async def make_login(self, admin: Admin, tenant: TenantSpec, login: LoginSpec) -> None:
        await self._make_login(admin, tenant, login.role, (await roles.verifiers((login,)))[login.role])

    @_again_when_raced
    async def _make_login(self, admin: Admin, tenant: TenantSpec, role: str, verifier: str) -> None:
        async with self._sessions.on(admin) as session:
            standing = await databases.look(session, tenant, role)
            standing.require_database(tenant)
            standing.refuse_foreign_roles(tenant, role)
            await session.run(roles.login(standing.logins, tenant, role, verifier))

    @_again_when_raced
    async def drop_login(self, admin: Admin, tenant: TenantSpec, role: str) -> None:
        async with self._sessions.on(admin) as session:
            standing = await databases.look(session, tenant, role)
            if role in standing.roles_there:
                standing.refuse_foreign_roles(tenant, role)
                await roles.shut_out(session, role)
                await roles.forget(self._sessions, session, admin, role)

    @_again_when_raced
    async def close(self, admin: Admin, tenant: TenantSpec) -> None:
        async with self._sessions.on(admin) as session:
            await databases.close(session, tenant)

    async def drop(self, admin: Admin, tenant: TenantSpec) -> None:
        async with self._dropping[admin.server_id]:  # each DROP DATABASE waits for a checkpoint; two wait longer
            await self._drop(admin, tenant)

    @_again_when_raced
    async def _drop(self, admin: Admin, tenant: TenantSpec) -> None:
        await databases.drop(self._sessions, admin, tenant)

    async def enforce(self, admin: Admin, limits: Mapping[str, Limits]) -> Sequence[Overrun]:
        async with self._sessions.on(admin) as session:
            return await enforce.end_overruns(session, limits)

    async def usage(self, admin: Admin, asked: Sequence[Asked], size_interval: timedelta) -> Sequence[Sample]:
        async with self._sessions.on(admin) as session:
            return await usage.sample(session, asked, size_interval)

    @_again_when_raced
    async def stop(self, admin: Admin, tenant: TenantSpec, stop: Stop, storage_bytes: int) -> None:
        await stopping.stop(self._sessions, admin, tenant, stop, storage_bytes)

    async def inventory(self, admin: Admin) -> Inventory:
        async with self._sessions.on(admin) as session:
            return await hardening.inventory(session)

    async def ours(self, admin: Admin) -> Ours:
        async with self._sessions.on(admin) as session:
            return await strays.ours(session)

    async def write_register(self, admin: Admin, server_id: ServerId, entries: Sequence[Entry]) -> None:
        async with self._sessions.on(admin) as session:
            await register.write(session, server_id, entries)

    async def registered(self, admin: Admin) -> Registered:
        async with self._sessions.on(admin) as session:
            return await register.read(session)

    @_again_when_raced
    async def drop_stray_database(self, admin: Admin, name: str, oid: int) -> None:
        await strays.drop_database(self._sessions, admin, name, oid)

    @_again_when_raced
    async def drop_stray_role(self, admin: Admin, role: str, oid: int) -> None:
        await strays.drop_role(self._sessions, admin, role, oid)

    async def sizes(self, admin: Admin, names: Sequence[str]) -> Mapping[str, int]:
        async with self._sessions.on(admin) as session:
            return await databases.sizes(session, names)
