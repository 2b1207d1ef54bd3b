"""What the tests of the data plane share: a tenant made up, logged in as, and cut off in the middle of."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import TypeAlias, TypeVar
from uuid import uuid4

import asyncpg

from database_service.dataplane.connect import Moment
from database_service.dataplane.sessions import TenantServers
from database_service.domain import naming
from database_service.domain.ids import ServerId
from database_service.domain.plans import MIB, Limits
from database_service.domain.tenancy import Admin, LoginSpec, TenantSpec
from database_service.secretbox import new_password
from support.cluster import Cluster

LIMITS = Limits(3, timedelta(seconds=30), timedelta(seconds=60), timedelta(minutes=5), 16 * MIB)
ENDED = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What the driver says of a session the server ended: which, depends on how much of the news has arrived."""

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def admin_of(cluster: Cluster) -> Admin:
    return Admin(ServerId(uuid4()), cluster.host, cluster.port, cluster.superuser, cluster.password)


def a_login() -> LoginSpec:
    return LoginSpec(naming.login_role(os.urandom(8)), new_password())


def a_tenant(limits: Limits = LIMITS, **differently: object) -> TenantSpec:
    name, owner = naming.database_name(os.urandom(8)), naming.owner_role(os.urandom(8))
    tenant = TenantSpec(name, None, owner, "default", limits, (a_login(),))
    return replace(tenant, **differently)


def built(tenant: TenantSpec) -> TenantSpec:
    """The same as its row tells it once it was built."""
    return replace(tenant, physical_name=tenant.name)


@dataclass(frozen=True, slots=True)
class House:
    cluster: Cluster
    admin: Admin
    servers: TenantServers

    async def tenant(self, limits: Limits = LIMITS, **differently: object) -> TenantSpec:
        """A tenant with its database on the server."""
        tenant = a_tenant(limits, **differently)
        await self.servers.build(self.admin, tenant)
        return built(tenant)

    @asynccontextmanager
    async def session(self, login: LoginSpec, database: str) -> AsyncIterator[Connection]:
        """A session as a tenant has it, with its password over TCP."""
        conn = await asyncpg.connect(
            host=self.cluster.host,
            port=self.cluster.port,
            user=login.role,
            password=login.password.reveal(),
            database=database,
        )
        try:
            yield conn
        finally:
            conn.terminate()

    def inside(self, tenant: TenantSpec) -> AbstractAsyncContextManager[Connection]:
        """A session of its first login in its database."""
        return self.session(tenant.logins[0], tenant.name)

    async def can_log_in(self, login: LoginSpec, database: str) -> bool:
        try:
            async with self.session(login, database) as conn:
                return await conn.fetchval("SELECT 1") == 1
        except (
            asyncpg.InvalidAuthorizationSpecificationError,
            asyncpg.InsufficientPrivilegeError,
            asyncpg.InvalidCatalogNameError,
            asyncpg.TooManyConnectionsError,
        ):
            return False

    @asynccontextmanager
    async def superuser(self, database: str = "postgres") -> AsyncIterator[Connection]:
        conn = await asyncpg.connect(self.cluster.dsn(database))
        try:
            yield conn
        finally:
            await conn.close()

    async def ask(self, query: str, *args: object) -> object:
        async with self.superuser() as conn:
            return await conn.fetchval(query, *args)

    async def do(self, script: str, database: str = "postgres") -> None:
        async with self.superuser(database) as conn:
            await conn.execute(script)

    async def leftovers(self, tenant: TenantSpec) -> int:
        """How many databases and roles of this tenant are on the server."""
        roles = [tenant.owner_role, *(login.role for login in tenant.logins)]
        names = [tenant.name, tenant.physical_name or tenant.name]
        query = """SELECT (SELECT count(*) FROM pg_roles WHERE rolname = ANY ($1::text[]))
                        + (SELECT count(*) FROM pg_database WHERE datname = ANY ($2::text[]))"""
        return int(await self.ask(query, roles, names))

    async def sessions_of(self, tenant: TenantSpec) -> int:
        return int(await self.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", tenant.name))


async def until(asked: Callable[[], Awaitable[T]]) -> T:
    """Ask again and again, a round trip each time, until the answer is true; TimeoutError after 20 s."""
    async with asyncio.timeout(20):
        while not (answer := await asked()):
            pass
    return answer


class Killed(Exception):
    """The process died here."""


@dataclass(slots=True)
class Fuse:
    """Blows at the `left`-th moment around an effect."""

    left: int

    def __call__(self, moment: Moment, template: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed(f"{moment} {template}")


Work = Callable[[TenantServers], Awaitable[None]]


async def cut_off_everywhere(prepare: Callable[[], Awaitable[tuple[Work, Callable[[], Awaitable[None]]]]]) -> list[str]:
    """For each moment around an effect: prepare, die there, do it again, check. Returns where it died."""
    deaths: list[str] = []
    for n in count(1):
        work, check = await prepare()
        async with TenantServers(on_statement=Fuse(n)) as dying:
            try:
                await work(dying)
            except Killed as death:
                deaths.append(str(death))
            else:
                await check()
                return deaths
        async with TenantServers() as alive:
            await work(alive)
        await check()
    raise AssertionError("it never ended")
