"""Who listens notices also that the other side fell silent, which no FIN and no RST tells."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from database_service.store.changes import DATABASE_CHANGED, HEARTBEAT, Changes
from database_service.store.pool import Conn
from support.cable import Cable, cable_to
from support.cluster import Cluster

PATIENCE_S = 20
LAST_HEARTBEAT = """
SELECT pid, query_start FROM pg_stat_activity WHERE datname = current_database() AND query = $1 AND state = 'idle'"""


@pytest.fixture
async def cable(cluster: Cluster) -> AsyncIterator[Cable]:
    async with cable_to(cluster.host, cluster.port) as cable:
        yield cable


@pytest.fixture
def carried_dsn(control_dsn: str, cluster: Cluster, cable: Cable) -> str:
    return control_dsn.replace(f":{cluster.port}/", f":{cable.port}/")


@pytest.fixture
async def elsewhere(control_dsn: str) -> AsyncIterator[Conn]:
    """A session that the cable has nothing to do with."""
    conn = await asyncpg.connect(control_dsn)
    yield conn
    await conn.close()


async def test_everybody_is_woken_when_the_other_side_falls_silent(carried_dsn: str, cable: Cable) -> None:
    changes = Changes(carried_dsn, heartbeat_s=0.05, patience_s=0.5)
    with changes.watch(DATABASE_CHANGED, "a") as a, changes.watch(DATABASE_CHANGED, "b") as b:
        async with asyncio.timeout(PATIENCE_S), changes:
            await _woken(a, b)
            cable.fall_silent()
            await _woken(a, b)


async def test_changes_are_heard_again_after_a_silence(carried_dsn: str, cable: Cable, elsewhere: Conn) -> None:
    changes = Changes(carried_dsn, heartbeat_s=0.05, patience_s=0.5)
    with changes.watch(DATABASE_CHANGED, "a") as a, changes.watch(DATABASE_CHANGED, "b") as b:
        async with asyncio.timeout(PATIENCE_S), changes:
            await _woken(a, b)
            cable.fall_silent()
            await _woken(a, b)
            while not await _only_first_is_woken(a, b, elsewhere):
                b.clear()


async def test_who_answers_is_asked_again_and_again_and_kept(carried_dsn: str, elsewhere: Conn) -> None:
    changes = Changes(carried_dsn, heartbeat_s=0.01)
    with changes.watch(DATABASE_CHANGED, "a") as connected:
        async with asyncio.timeout(PATIENCE_S), changes:
            await connected.wait()
            first = await _heartbeat(elsewhere)
            while (later := await _heartbeat(elsewhere))["query_start"] == first["query_start"]:
                pass
            assert later["pid"] == first["pid"]


async def _woken(*events: asyncio.Event) -> None:
    for event in events:
        await event.wait()
        event.clear()


async def _only_first_is_woken(first: asyncio.Event, second: asyncio.Event, elsewhere: Conn) -> bool:
    """A notification wakes one; coming back, or being away, wakes both."""
    await elsewhere.execute("SELECT pg_notify($1, 'a')", DATABASE_CHANGED)
    await first.wait()
    first.clear()
    return not second.is_set()


async def _heartbeat(elsewhere: Conn) -> asyncpg.Record:
    while (row := await elsewhere.fetchrow(LAST_HEARTBEAT, HEARTBEAT)) is None:
        pass
    return row
