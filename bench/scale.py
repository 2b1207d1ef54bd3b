"""Does it stay as fast when it is large? 20,000 servers and 1,000,000 databases, against an almost empty control plane.

Both control planes are databases of one PostgreSQL, each behind an API process of its own, and are measured in turn.
"""

import itertools
import random
import time
from functools import partial

import asyncpg

from bench import rows
from bench.client import Client, client
from bench.figures import Measure, Round, Series, in_turn, ratio
from bench.report import Options, Report, carry_out
from bench.system import Http, Postgres, System

PER_SERVER = 50
SPARE_SLOTS = 2
"""Of a large fleet's server, beside the slots in use."""
PER_ROUND = {1: 300, 16: 1200}
WARM_UP = 50
ALLOCATE, DATABASES, POOLS, STATS = (
    f"/api/database/{path}" for path in ("allocate", "databases", "admin/pools", "admin/stats")
)
ASK = '{"instance_id": "b-{i}", "customer_id": "c-1", "plan_tier": "free"}'
PAGES = {
    "list, first page": "?limit=50",
    "list, a page in the middle": "?limit=50&cursor={cursor}",
    "list, status=active": "?limit=50&status=active",
    "list, status=full": "?limit=50&status=full",
    "list, status=maintenance": "?limit=50&status=maintenance",
    "list, server_type=dedicated": "?limit=50&server_type=dedicated",
}

_numbers = itertools.count(1)


async def bench(system: System, given: Options) -> None:
    report = Report("scale", given, system)
    servers, tenants = given.size(20_000, 100), given.size(1_000_000, 2_000)
    control, broker = system.control(), system.broker()
    large, small = await _large(report, system, control, servers, tenants), await _small(report, system, control)
    apis = {"large": system.api(large, broker, "api-large"), "small": system.api(small, broker, "api-small")}
    async with client() as caller:
        known = {"large": tenants, "small": PER_SERVER}
        for connections in PER_ROUND:
            await _compare(report, caller, apis, known, connections)
        await _reads(report, caller, apis["large"], servers)
    await _plans(report, large)
    report.finish()


# -- two control planes -----------------------------------------------------------------------------------------------


async def _large(report: Report, system: System, control: Postgres, servers: int, tenants: int) -> str:
    begun = time.monotonic()
    dsn = await rows.control_database(control, "large")
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute("SET maintenance_work_mem = '256MB'")
        made = await rows.add_servers(conn, system.box, servers, slots=PER_SERVER + SPARE_SLOTS)
        await rows.add_tenants(conn, tenants, PER_SERVER)
        spread = made[: _spares(report.options) // SPARE_SLOTS + 1]
        await rows.add_spares(conn, system.box, spread, per_server=SPARE_SLOTS, first_ordinal=PER_SERVER + 1)
        await rows.add_free_slots(conn)
        await _settle(conn)
        size = await conn.fetchval("SELECT pg_size_pretty(pg_database_size(current_database()))")
    finally:
        await conn.close()
    report.note(f"large: {servers} servers, {tenants} databases, each with slot, login and event: {size}")
    report.note(f"it took {time.monotonic() - begun:.0f} s to fill, VACUUM and ANALYZE included")
    return dsn


async def _small(report: Report, system: System, control: Postgres) -> str:
    dsn = await rows.control_database(control, "small")
    conn = await asyncpg.connect(dsn)
    try:
        spares = _spares(report.options)
        made = await rows.add_servers(conn, system.box, 1 + spares // rows.POOL_SLOTS + 1)
        await rows.add_tenants(conn, PER_SERVER, PER_SERVER)
        await rows.add_spares(conn, system.box, made[1:], per_server=rows.POOL_SLOTS)
        await rows.add_free_slots(conn)
        await _settle(conn)
    finally:
        await conn.close()
    report.note(f"small: {len(made)} servers, {PER_SERVER} databases; both have {spares} spares, made by SQL")
    return dsn


async def _settle(conn: rows.Connection) -> None:
    """As a fleet that grew over months is: vacuumed, analyzed, written out."""
    await conn.execute("VACUUM ANALYZE")
    await conn.execute("CHECKPOINT")


def _spares(given: Options) -> int:
    return sum(_per_round(given, c) + _warm_up(given) for c in PER_ROUND) * _rounds(given)


def _per_round(given: Options, connections: int) -> int:
    return given.size(PER_ROUND[connections], connections * 2)


def _warm_up(given: Options) -> int:
    return given.size(WARM_UP, 16)


def _rounds(given: Options) -> int:
    return given.size(5, 1)


# -- allocate and status ----------------------------------------------------------------------------------------------


async def _compare(
    report: Report, caller: Client, apis: dict[str, Http], known: dict[str, int], connections: int
) -> None:
    given = report.options
    subjects: dict[str, Measure] = {}
    for size, api in apis.items():
        subjects[f"allocate, {size}, c={connections}"] = partial(_allocated, given, caller, api, connections)
        subjects[f"status, {size}, c={connections}"] = partial(_asked, given, caller, api, known[size], connections)
    measured = await in_turn(_rounds(given), subjects)
    report.all_of(measured, concurrency=connections)
    for verb in ("allocate", "status"):
        _judge(report, measured, verb, connections)


def _judge(report: Report, measured: dict[str, Series], verb: str, connections: int) -> None:
    large, small = (measured[f"{verb}, {size}, c={connections}"] for size in ("large", "small"))
    for what, figure, limited in (("median", _median, True), ("p99", _p99, False)):
        got = report.ratio(f"{what}, {verb}, large / small, c={connections}", ratio(large, small, figure))
        if limited:
            report.target(f"{verb}, c={connections}: median, large / almost empty", "<=", 1.2, got)


def _median(one: Round) -> float:
    return one.median


def _p99(one: Round) -> float:
    return one.p99


async def _allocated(given: Options, caller: Client, api: Http, connections: int) -> Round:
    total = _per_round(given, connections)
    for number in (_warm_up(given), total):
        first = _next(number)
        done = await caller.post(api, ALLOCATE, ASK, connections=connections, total=number, first=first)
    return Round(done.ms, done.seconds)


def _next(total: int) -> int:
    """The first of so many numbers that were never used."""
    return next(itertools.islice(_numbers, total - 1, None)) - total + 1


async def _asked(given: Options, caller: Client, api: Http, known: int, connections: int) -> Round:
    """Instances next to each other by name lie on servers next to each other; each round looks elsewhere."""
    total = _per_round(given, connections)
    most = min(total, known)
    first = random.randint(1, known - most + 1)  # noqa: S311  any part of the table will do
    done = await caller.get(api, f"{DATABASES}/i-{{i}}", connections=connections, total=most, first=first)
    return Round(done.ms, done.seconds)


# -- lists and statistics ---------------------------------------------------------------------------------------------


async def _reads(report: Report, caller: Client, api: Http, servers: int) -> None:
    """One caller at a time: an operator's page."""
    from database_service.api.paging import cursor_of  # noqa: PLC0415  only here

    number = report.options.size(40, 3)
    paths = {what: POOLS + query.format(cursor=cursor_of(servers // 2)) for what, query in PAGES.items()}
    paths |= {"stats": STATS}
    subjects: dict[str, Measure] = {what: partial(_read, caller, api, path, number) for what, path in paths.items()}
    measured = await in_turn(report.options.size(3, 1), subjects)
    report.all_of(measured, concurrency=1)
    for what in subjects:
        report.target(f"{what}, large: p95", "<=", 50, report.measured[what]["p95_ms"], "ms")


async def _read(caller: Client, api: Http, path: str, number: int) -> Round:
    done = await caller.get(api, path, connections=1, total=number)
    return Round(done.ms, done.seconds)


# -- plans ------------------------------------------------------------------------------------------------------------


async def _plans(report: Report, dsn: str) -> None:
    """How PostgreSQL goes about what is slow, if anything is: kept with the result."""
    from database_service.views import servers as view  # noqa: PLC0415  only here
    from database_service.views import stats  # noqa: PLC0415

    missed = [target.what for target in report.targets if not target.reached and target.unit == "ms"]
    if not missed:
        return
    conn = await asyncpg.connect(dsn)
    try:
        for name, sql, args in (
            ("view.servers.PAGE, status=full", view.PAGE, ("active", False, False, None, 0, 51)),
            ("view.servers.COUNT, status=full", view.COUNT, ("active", False, False, None)),
            ("view.stats.SERVERS", stats.SERVERS, ()),
            ("view.stats.DATABASES", stats.DATABASES, ()),
        ):
            plan = await conn.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {sql}", *args)
            report.note(f"{name}:\n" + "\n".join(row[0] for row in plan))
    finally:
        await conn.close()


if __name__ == "__main__":
    carry_out(bench, __doc__)
