"""Moves while clients write as fast as they can, and while whoever moves is killed again and again.

MOVE_SCALE is the size of what is moved, in pgbench's units of 15 MB; MOVE_KILLS how often the mover is killed, at moments that
MOVE_SEED chooses.
"""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from database_service.actions.change_plan import Wanted, change_plan
from database_service.actions.credentials import credentials
from database_service.actions.move_databases import move
from database_service.domain.answers import Allocation
from database_service.domain.databases import Status
from database_service.domain.errors import DatabaseMoving, DatabaseNotReady
from database_service.domain.operations import State
from database_service.provisioners.runtime import PostgresRuntime
from dataplane import menagerie
from support import mover
from support.cluster import Cluster
from support.house import WHO, login
from support.passfile import with_password
from support.two_pools import BRIEF, A, Two, open_two
from support.writers import TABLE, Writers, writing

SCALE = int(os.environ.get("MOVE_SCALE", "2"))
KILLS = int(os.environ.get("MOVE_KILLS", "8"))
SEED = int(os.environ.get("MOVE_SEED", "0")) or random.randrange(1, 10**6)  # noqa: S311  not a secret
TYPICAL_S = 4.0
"""A kill comes at any moment of about so long: a move and a little more."""


def dsn_of(allocated: Allocation) -> str:
    at, who = allocated.address, allocated.login.role
    return f"postgresql://{who}:{allocated.password.reveal()}@{at.host}:{at.port}/{allocated.database.name}"


def address_in(two: Two) -> Callable[[], Awaitable[str | None]]:
    """What a client learns that asks for its credentials."""

    async def where() -> str | None:
        try:
            return dsn_of(await credentials(two.house.deps, A, WHO))
        except (DatabaseMoving, DatabaseNotReady):
            return None

    return where


async def ready(two: Two) -> str:
    async with asyncio.timeout(60):
        while (found := await address_in(two)()) is None:  # noqa: ASYNC110  it is asked as a client would ask
            await asyncio.sleep(0.05)
    return found


async def filled(two: Two, runtime: PostgresRuntime) -> None:
    """With pgbench's tables and one of everything a tenant can make."""
    allocated = await credentials(two.house.deps, A, WHO)
    at = ("-h", allocated.address.host, "-p", str(allocated.address.port), "-U", allocated.login.role)
    with with_password(allocated.password.reveal()) as environment:
        process = await asyncio.create_subprocess_exec(
            runtime.bin_dir / "pgbench", "-iq", "--foreign-keys", "-s", str(SCALE), *at, allocated.database.name,
            env=environment, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await process.communicate()
    assert process.returncode == 0, said
    conn = await login(allocated)
    await conn.execute(TABLE)
    await conn.execute(menagerie.SCRIPT)
    await conn.close()


async def contents(dsn: str) -> list[asyncpg.Record]:
    """What pgbench made and nobody writes to."""
    conn = await asyncpg.connect(dsn)
    try:
        return await conn.fetch(
            "SELECT count(*), sum(aid), sum(bid), sum(abalance), max(filler) FROM pgbench_accounts"
            " UNION ALL SELECT count(*), sum(id), 0, 0, max(name::text) FROM thing"
            " UNION ALL SELECT count(*), sum(oid::bigint), 0, 0, '' FROM pg_largeobject_metadata"
        )
    finally:
        await conn.close()


@pytest.mark.timeout(600)
async def test_every_commit_that_was_acknowledged_is_on_the_target(
    two: Two, runtime: PostgresRuntime, record_property: Callable[[str, object], None]
) -> None:
    await filled(two, runtime)
    before = await contents(await ready(two))
    async with writing(address_in(two)) as writers:
        await writers.until_acknowledged(50)
        operation = await two.house.finished((await change_plan(two.house.hurried.deps, Wanted(A, "premium"), WHO)).id)
        assert operation.state is State.SUCCEEDED, operation
        await writers.until_acknowledged(50)
    assert await writers.lost(await ready(two)) == set()
    assert await contents(await ready(two)) == before
    moved = await two.moved(operation)
    assert moved.downtime
    assert moved.size_bytes
    record_property(
        "moves", f"{moved.size_bytes / 1024**2:.0f} MB under write load: shut for {moved.downtime.total_seconds():.1f} s, "
        f"{len(writers.acknowledged)} commits acknowledged, none lost",
    )  # fmt: skip


# -- killed again and again -------------------------------------------------------------------------------------------


@dataclass
class Mover:
    """A process of ours that moves, and can be killed."""

    process: asyncio.subprocess.Process

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def moving(dsn: str) -> AsyncIterator[Mover]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "support.mover", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(mover.__file__).parents[1])},
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{dsn}\n".encode())
    assert await process.stdout.readline() == b"ready\n"
    found = Mover(process)
    try:
        yield found
    finally:
        await found.kill()


async def _wanted(two: Two) -> None:
    """Something is on its way: back and forth."""
    if await two.house.value("SELECT count(*) FROM operations WHERE state IN ('pending', 'running')"):
        return
    if (await two.house.database(A)).status is Status.READY:
        await move(two.house.deps, A, None, WHO)


async def _outlived(two: Two) -> None:
    """The leases of who was killed are over, as they would be some time later."""
    async with two.house.deps.db.connection() as conn:
        for table in ("operations", "databases"):
            await conn.execute(
                f"UPDATE {table} SET lease_until = NULL, lease_token = NULL WHERE lease_until IS NOT NULL"
            )


async def _end(two: Two, dsn: str) -> None:
    async with moving(dsn), asyncio.timeout(120):
        while await two.house.value(  # noqa: ASYNC110  the other process makes it so
            "SELECT (SELECT count(*) FROM operations WHERE due_at IS NOT NULL)"
            " + (SELECT count(*) FROM databases WHERE due_at <= now() + interval '1 minute')"
        ):
            await asyncio.sleep(0.1)


@pytest.mark.timeout(60 + KILLS * 20)
async def test_killed_at_any_moment_no_row_is_lost(
    control_dsn: str,
    tenant_cluster: Cluster,
    other_cluster: Cluster,
    runtime: PostgresRuntime,
    home: Path,
    record_property: Callable[[str, object], None],
) -> None:
    chance, kills = random.Random(SEED), 0  # noqa: S311  not a secret
    async with open_two(control_dsn, tenant_cluster, other_cluster, runtime, home, BRIEF) as two:
        await filled(two, runtime)
        before = await contents(await ready(two))
        async with writing(address_in(two), clients=2) as writers:
            await writers.until_acknowledged(20)
            while kills < KILLS:
                await _wanted(two)
                async with moving(control_dsn):
                    await asyncio.sleep(chance.uniform(0, TYPICAL_S))
                    kills += await two.house.value("SELECT count(*) FROM operations WHERE lease_until IS NOT NULL") == 1
                await _outlived(two)
            await _end(two, control_dsn)
            await writers.until_acknowledged(20)
        await _unharmed(two, writers, before)
        done = await two.house.value("SELECT count(*) FROM moves WHERE phase = 'done'")
        undone = await two.house.value("SELECT count(*) FROM moves WHERE phase = 'undone'")
        await two.sound()
    record_property(
        "moves", f"killed {KILLS} times (seed {SEED}): {done} moves done, {undone} turned back, "
        f"{len(writers.acknowledged)} commits acknowledged, none lost",
    )  # fmt: skip


async def _unharmed(two: Two, writers: Writers, before: list[asyncpg.Record]) -> None:
    assert await writers.lost(await ready(two)) == set()
    assert await contents(await ready(two)) == before
