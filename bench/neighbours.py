"""What a tenant doing its worst costs its neighbours: simple reads and writes of a quiet one, alone and beside each kind of it.

One server with the settings of a pool, both tenants with the limits and grants that the service gives, and the service's own
look at limits that sessions may lift. The bully has a process of its own; the quiet one has one session.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar
from urllib.parse import quote
from uuid import uuid4

import asyncpg

from bench import bully
from bench.figures import Measure, Round, in_turn, ratio
from bench.report import Options, Report, carry_out
from bench.system import HOST, USER, Postgres, System
from database_service.dataplane.sessions import TenantServers
from database_service.domain import naming
from database_service.domain.errors import TenantServerUnavailable
from database_service.domain.ids import ServerId
from database_service.domain.plans import PLANS, Tier
from database_service.domain.tenancy import Admin, LoginSpec, TenantSpec
from database_service.secretbox import new_password

T = TypeVar("T")

FACTOR = 10
"""What is promised of the p99 of simple statements."""
ROUND_S = 3.0
ENFORCED_EVERY_S = 1.0
"""As shipped it is 15 s; a round is shorter than that."""
ENDED_S = 60.0
ROWS = 1000
SET_UP = f"CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT g, 0 FROM generate_series(1, {ROWS}) g"
REFUSED = (asyncpg.OutOfMemoryError, asyncpg.TooManyConnectionsError)

ALONE = "alone"


@dataclass(frozen=True, slots=True)
class Pool:
    """A hardened server with two tenants."""

    admin: Admin
    servers: TenantServers
    quiet: TenantSpec
    bully: TenantSpec

    def dsn(self, tenant: TenantSpec) -> str:
        login = tenant.logins[0]
        return f"postgresql://{login.role}:{quote(login.password.reveal())}@{HOST}:{self.admin.port}/{tenant.name}"


async def bench(system: System, given: Options) -> None:
    report = Report("neighbours", given, system)
    sessions = given.size(PLANS[Tier.STANDARD].limits.connections, 3)
    refused: dict[str, int] = {}
    async with _pool(system.tenant()) as pool:
        async with _session(pool, refused, ALONE) as quiet:
            await quiet.execute(SET_UP)
        measure = partial(_measure, pool, given, sessions, refused)
        subjects: dict[str, Measure] = {what: partial(measure, what) for what in (ALONE, *bully.DEEDS)}
        measured = await in_turn(given.size(3, 1), subjects)
    report.all_of(measured, sessions=sessions, round_s=_round_s(given))
    report.note(
        "each figure is of one read or write by primary key, in turn; what is refused is tried again, within its time"
    )
    report.note(f"limits that sessions may lift are looked at every {ENFORCED_EVERY_S:g} s; as shipped, every 15 s")
    for what, times in refused.items():
        report.note(f"beside {what}, the quiet one was refused {times} time(s)")
    for what in bully.DEEDS:
        got = report.ratio(f"p99 beside {what} / alone", ratio(measured[what], measured[ALONE], lambda r: r.p99))
        report.target(f"p99 of simple statements beside {what} / alone", "<=", FACTOR, got)
    report.finish()


@asynccontextmanager
async def _pool(server: Postgres) -> AsyncIterator[Pool]:
    admin = Admin(ServerId(uuid4()), HOST, server.port, USER, server.password)
    async with TenantServers() as servers:
        await servers.harden(admin, ["default"])
        pool = Pool(admin, servers, _tenant(Tier.FREE), _tenant(Tier.STANDARD))
        for tenant in (pool.quiet, pool.bully):
            await servers.build(admin, tenant)
        enforcing = asyncio.create_task(_enforce(pool))
        try:
            yield pool
        finally:
            enforcing.cancel()
            await asyncio.gather(enforcing, return_exceptions=True)


def _tenant(tier: Tier) -> TenantSpec:
    login = LoginSpec(naming.login_role(os.urandom(8)), new_password())
    name, owner = naming.database_name(os.urandom(8)), naming.owner_role(os.urandom(8))
    return TenantSpec(name, None, owner, "default", PLANS[tier].limits, (login,))


async def _enforce(pool: Pool) -> None:
    limits = {tenant.logins[0].role: tenant.limits for tenant in (pool.quiet, pool.bully)}
    while True:
        with contextlib.suppress(TenantServerUnavailable):  # the next look is the next try, as it is in the service
            await pool.servers.enforce(pool.admin, limits)
        await asyncio.sleep(ENFORCED_EVERY_S)


def _round_s(given: Options) -> float:
    return 0.2 if given.quick else ROUND_S


async def _measure(pool: Pool, given: Options, sessions: int, refused: dict[str, int], what: str) -> Round:
    if what == ALONE:
        return await _quiet(pool, _round_s(given), refused, what)
    async with _bully(pool, what, sessions):
        await asyncio.sleep(_round_s(given) / 3)
        return await _quiet(pool, _round_s(given), refused, what)


@asynccontextmanager
async def _bully(pool: Pool, what: str, sessions: int) -> AsyncIterator[None]:
    """At it until the context ends; nothing of it is left then."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.bully", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin  # noqa: S101  both are pipes
    assert process.stdout  # noqa: S101
    process.stdin.write(json.dumps({"dsn": pool.dsn(pool.bully), "what": what, "sessions": sessions}).encode() + b"\n")
    try:
        if await process.stdout.readline() != b"begun\n":
            raise RuntimeError(f"the bully could not begin: {what}")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await _end_sessions_of_the_bully(pool)


async def _end_sessions_of_the_bully(pool: Pool) -> None:
    """Its door is shut, and opened again for the next. While it still fills the table of locks, the service is refused as well."""
    async with asyncio.timeout(ENDED_S):
        while True:
            with contextlib.suppress(TenantServerUnavailable):
                await pool.servers.close(pool.admin, pool.bully)
                await pool.servers.build(pool.admin, replace(pool.bully, physical_name=pool.bully.name))
                return
            await asyncio.sleep(ENFORCED_EVERY_S / 10)


@asynccontextmanager
async def _session(
    pool: Pool, refused: dict[str, int], what: str
) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    conn = await _until_let(partial(asyncpg.connect, pool.dsn(pool.quiet), timeout=60), refused, what)
    try:
        yield conn
    finally:
        await conn.close()


async def _quiet(pool: Pool, seconds: float, refused: dict[str, int], what: str) -> Round:
    statements = ("SELECT n FROM t WHERE id = $1", "UPDATE t SET n = n + 1 WHERE id = $1")
    ms: list[float] = []
    async with _session(pool, refused, what) as conn:
        prepared = [await conn.prepare(statement) for statement in statements]
        begun = time.monotonic()
        while (at := time.monotonic()) < begun + seconds:
            await _until_let(partial(prepared[len(ms) % 2].fetch, len(ms) % ROWS + 1), refused, what)
            ms.append((time.monotonic() - at) * 1000)
        return Round(ms, time.monotonic() - begun)


async def _until_let(ask: Callable[[], Awaitable[T]], refused: dict[str, int], what: str) -> T:
    """Its answer. Who is refused, because the server has no room for it, asks again."""
    while True:
        try:
            return await ask()
        except REFUSED:
            refused[what] = refused.get(what, 0) + 1
            await asyncio.sleep(0.001)


if __name__ == "__main__":
    carry_out(bench, __doc__)
