"""How soon a waiting caller has its answer: 1,000 wait on an empty control plane while pools become active one by one.

The real path: API, broker, worker and beat run as shipped. Callers ask with `Prefer: wait=120`. Each pool's spares are rows, there
before it; then one UPDATE makes the server active and a nudge is sent, just as the reconciler that brought it up would do
it. The clock of a caller runs from the commit of that UPDATE to its whole answer.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from bench import rows
from bench.client import Load, Outcome, client
from bench.figures import Round, Series
from bench.report import Options, Report, carry_out
from bench.system import Http, System
from database_service.broker.celery import new_sender
from database_service.broker.courier import Courier

ALLOCATE = "/api/database/allocate"
ASK = '{"instance_id": "w-{i}", "customer_id": "c-1", "plan_tier": "free"}'
WAIT_S = 120
"""More than a caller is granted by default: on a loaded machine a thousand of them need a while to arrive."""
ARRIVE_S = 0.01
"""From one caller to the next: that many at once would measure how a queue drains, not how soon a waiting one is served."""
PAUSE_S = 0.4
"""From one pool to the next: no two are in the air at once."""

WAITING = "SELECT count(*) FROM databases WHERE status = 'waiting'"
ACTIVATE = "UPDATE servers SET status = 'active', status_since = $2 WHERE id = $1"


async def bench(system: System, given: Options) -> None:
    report = Report("ready", given, system)
    callers, slots = given.size(1_000, 20), given.size(50, 10)
    control, broker = system.control(), system.broker()
    dsn = await rows.control_database(control, "ready")
    conn = await asyncpg.connect(dsn)
    try:
        pools = await _pools(system, conn, callers // slots, slots)
        # Nothing is ordered: the pools that come are those of this benchmark.
        settings = {
            "auto_order": "false",
            "spares_least": "0",
            "spare_horizon_s": "0.001",
            "longest_wait_s": str(WAIT_S),
        }
        api = system.api(dsn, broker, **settings)
        system.worker(dsn, broker, **settings)
        with Courier(new_sender(broker)) as courier:
            active, outcome = await _wait_and_open(conn, courier, api, pools, callers)
    finally:
        await conn.close()
    _tell(report, active, outcome, callers, slots)
    report.finish()


async def _pools(system: System, conn: rows.Connection, number: int, slots: int) -> list[UUID]:
    """Servers about to become active, their spares already there."""
    made = await rows.add_servers(conn, system.box, number, slots=slots, status="initializing")
    await rows.add_spares(conn, system.box, made, per_server=slots)
    await conn.execute("UPDATE servers SET due_at = now() + interval '1 hour'")
    await conn.execute("VACUUM ANALYZE")
    return [server_id for server_id, _ in made]


async def _wait_and_open(
    conn: rows.Connection, courier: Courier, api: Http, pools: list[UUID], callers: int
) -> tuple[Mapping[UUID, float], Outcome]:
    """When each pool became active, and when each caller had its answer: both on the machine's monotonic clock."""
    headers = {**api.headers, "Prefer": f"wait={WAIT_S}"}
    load = Load(api.port, callers, callers, "POST", ALLOCATE, ASK, headers, 1, keep_bodies=True, apart_s=ARRIVE_S)
    async with client() as caller:
        await caller.get(api, "/api/database/admin/stats", connections=20, total=40)  # its connections are open now
        asked = asyncio.create_task(caller.run(load))
        await _until_all_wait(conn, callers)
        active = {}
        for pool in pools:
            await conn.execute(ACTIVATE, pool, datetime.now(UTC))
            active[pool] = time.monotonic()
            courier.capacity()
            await asyncio.sleep(PAUSE_S)
        return active, await asked


async def _until_all_wait(conn: rows.Connection, callers: int) -> None:
    """Until no more arrive: one that was refused (503) is not among those who wait."""
    await asyncio.sleep(callers * ARRIVE_S)
    async with asyncio.timeout(60):
        before = -1
        while (now := await conn.fetchval(WAITING)) > before or now == 0:
            before = now
            await asyncio.sleep(2)


def _tell(report: Report, active: Mapping[UUID, float], outcome: Outcome, callers: int, slots: int) -> None:
    answers = [(json.loads(body), at) for body, at in zip(outcome.bodies, outcome.at, strict=True)]
    ms: dict[UUID, list[float]] = {pool: [] for pool in active}
    for told, at in answers:
        if "db_server_id" not in told:
            continue
        pool = UUID(told["db_server_id"])
        ms[pool].append((at - active[pool]) * 1000)
    series = Series([Round(one, max(one) / 1000) for one in ms.values() if one])
    what = "from a pool's becoming active to a caller's answer"
    report.series(what, series, callers=callers, pools=len(active), spares_of_each=slots)
    report.note(
        f"answers by status: {dict(outcome.statuses)}; a 503 is refused on arrival, and its caller would ask again"
    )
    report.note("through the real path: nudge, broker, worker (and the beat's sweeps beside it), NOTIFY, API")
    report.target(f"{what}, p95", "<=", 50, report.measured[what]["p95_ms"], "ms")


if __name__ == "__main__":
    carry_out(bench, __doc__)
