"""A tenant doing its worst, in a process of its own, until it is killed: `python -m bench.bully`, told what on standard input.

It has a login and a plan like any other tenant. What is refused to it, it tries again.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import asyncpg
import uvloop

ENDED = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Refused, cancelled, ended: a bully does not mind."""
REFUSED_S = 0.01
ATTEMPTS = 50
"""So many try to connect at once, again and again."""

SET_UP = """
CREATE TABLE IF NOT EXISTS heap (id int PRIMARY KEY, n int, filler text);
INSERT INTO heap SELECT g, 0, repeat('x', 100) FROM generate_series(1, 20000) g ON CONFLICT DO NOTHING
"""


Deed = Callable[[str, int], Coroutine[Any, Any, None]]


async def _sql(dsn: str, once: str, again: str) -> None:
    """`once`, then `again` for as long as the session lives; a new session after that."""
    while True:
        with contextlib.suppress(*ENDED):
            conn = await asyncpg.connect(dsn, timeout=60)
            try:
                await conn.execute(once)
                while True:
                    with contextlib.suppress(asyncpg.OutOfMemoryError, asyncpg.ConfigurationLimitExceededError):
                        await conn.execute(again)
            finally:
                conn.terminate()
        await asyncio.sleep(REFUSED_S)


def _all(again: str, once: str = "SELECT 1") -> Deed:
    async def deed(dsn: str, number: int) -> None:
        await _sql(dsn, once, again.replace("{number}", str(number)))

    return deed


async def _connect(dsn: str, _number: int) -> None:
    while True:
        with contextlib.suppress(*ENDED):
            conn = await asyncpg.connect(dsn, timeout=60)
            conn.terminate()


async def _notify(dsn: str, number: int) -> None:
    """The first one listens and never reads, so that nothing can be cleared away; the others fill the queue."""
    if number == 0:
        await _sql(dsn, "LISTEN flood", "BEGIN; SELECT 1; SELECT pg_sleep(3600)")
    await _sql(dsn, "SELECT 1", "SELECT pg_notify('flood', i || repeat('x', 7900)) FROM generate_series(1, 100) i")


DEEDS: Mapping[str, Deed] = {
    "connection attempts": _connect,
    "cartesian joins": _all("SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b"),
    "temporary files": _all(
        "SELECT count(*) FROM (SELECT n FROM generate_series(1, 50000000) n ORDER BY -n OFFSET 1) s",
        "SET work_mem = '64kB'",
    ),
    "table bloat": _all("UPDATE heap SET n = n + 1 WHERE id BETWEEN {number} * 500 AND {number} * 500 + 499"),
    "advisory lock storm": _all(
        "SELECT count(pg_advisory_lock({number}, n)) FROM generate_series(1, 1000000) n; SELECT pg_advisory_unlock_all()"
    ),
    "prepared statements": _all(
        "DO $$ BEGIN FOR i IN 1..2000 LOOP EXECUTE format('PREPARE p%s AS SELECT * FROM heap WHERE id = %s', i, i); END LOOP; "
        "END $$; DEALLOCATE ALL"
    ),
    "pg_sleep farm": _all("SELECT pg_sleep(3600)"),
    "notify flood": _notify,
    "subtransactions": _all(
        "DO $$ BEGIN FOR i IN 1..5000 LOOP BEGIN UPDATE heap SET n = n + 1 WHERE id = {number} * 500 + i % 500; "
        "EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$"
    ),
    "idle in transaction": _all("BEGIN; SELECT pg_current_xact_id(); SELECT count(*) FROM heap; SELECT pg_sleep(3600)"),
}


async def run(dsn: str, what: str, sessions: int) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.execute(SET_UP)
    await conn.close()
    deed = DEEDS[what]
    async with asyncio.TaskGroup() as group:
        for number in range(ATTEMPTS if deed is _connect else sessions):
            group.create_task(deed(dsn, number))
        sys.stdout.write("begun\n")
        sys.stdout.flush()


def main() -> None:
    told = json.loads(sys.stdin.readline())
    uvloop.run(run(told["dsn"], told["what"], told["sessions"]))


if __name__ == "__main__":
    main()
