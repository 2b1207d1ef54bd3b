"""Does every page of the hub answer quickly when the fleet is large? 20,000 servers, 1,000,000 databases and what they left behind.

Each page, each part and each file, one caller at a time with the cookie of a browser, beside the same on an almost empty control
plane; and how many bytes it is. Then 200 browsers with a page open while the fleet changes five times a second: what that costs
the API, and the allocations beside it.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from urllib.parse import urlencode

import asyncpg
import psutil

from bench import history, rows
from bench.browsers import Open, Watched, browsers
from bench.client import Client, Load, client
from bench.figures import Measure, Round, Series, in_turn, percentile, ratio
from bench.history import Landmarks, Past
from bench.report import Options, Report, carry_out
from bench.system import HOST, Http, Postgres, System

P95_MS = 150
KB = 200
ROUNDS = 10
PER_ROUND = 12
PER_SERVER = 50
BROWSERS = 200
CHANGE_EVERY_S = 0.2
LIVE_ROUNDS = 3
ALLOCATIONS = 2_000
"""In each round, with and without browsers."""
BATCHES = 20
PAUSE_S = 0.5
"""Between batches of them, so that a round sees the fleet change and the pages follow a few times."""
ALLOCATE = "/api/database/allocate"
ASK = '{"instance_id": "u-{i}", "customer_id": "c-1", "plan_tier": "free"}'
NOBODY = "00000000-0000-4000-8000-000000000000"

Pages = Mapping[str, str]
"""What each is called, and where it is. `{i}` is another number each time: parts that are shared by all who ask for the same
address at the same time are made anew for each."""

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Size:
    """Of one control plane."""

    servers: int
    tenants: int
    spares: int
    past: Past


@dataclass(frozen=True, slots=True)
class Allocated:
    """A round of allocations. `api_share` is what the API took of a core meanwhile."""

    round: Round
    api_share: float
    refused: int


@dataclass(frozen=True, slots=True)
class Plane:
    """One control plane, visited."""

    dsn: str
    api: Http
    """With the cookie of somebody who signed in."""
    pages: Pages


async def bench(system: System, given: Options) -> None:
    report = Report("ui", given, system)
    control, broker = system.control(), system.broker()
    large = await _plane(report, system, control, broker, "large", _large(given))
    small = await _plane(report, system, control, broker, "small", _small(given))
    async with client() as caller:
        await _pages(report, caller, large, small)
        await _live(report, system, caller, large)
    report.finish()


def _large(given: Options) -> Size:
    past = Past(
        requests=given.size(500_000, 600),
        lately=given.size(12_000, 60),
        operations=given.size(10_000, 120),
        rollout=given.size(20_000, 60),
        drift=given.size(1_000, 60),
        tokens=given.size(200, 60),
        claimed=given.size(20_000, 50),
        gone=given.size(50_000, 50),
        large=given.size(5_000, 60),
        hours=given.size(14 * 24, 48),
        days=given.size(90, 10),
    )
    return Size(given.size(20_000, 100), given.size(1_000_000, 3_000), _spares(given), past)


def _small(given: Options) -> Size:
    """One of everything that has a page, and a server for it."""
    return Size(16, 50, 1, Past(3, 1, 30, 1, 1, 1, 1, 1, 1, 1, 1))


# -- two control planes -----------------------------------------------------------------------------------------------


async def _plane(report: Report, system: System, control: Postgres, broker: str, name: str, size: Size) -> Plane:
    begun = time.monotonic()
    dsn = await rows.control_database(control, name)
    conn = await asyncpg.connect(dsn)
    try:
        found = await _fill(system, conn, size)
        counts = {table: await conn.fetchval(f"SELECT count(*) FROM {table}") for table in _TOLD}
        bytes_ = await conn.fetchval("SELECT pg_size_pretty(pg_database_size(current_database()))")
        pages = await _places(conn, found)
    finally:
        await conn.close()
    report.note(f"{name}: {', '.join(f'{n} {table}' for table, n in counts.items())}: {bytes_}")
    report.note(f"{name}: {time.monotonic() - begun:.0f} s to fill, VACUUM and ANALYZE included")
    api = system.api(dsn, broker, f"api-{name}")
    return Plane(dsn, Http(api.port, {"Cookie": _signed_in(system, api)}), pages)


_TOLD = (
    *("servers", "databases", "slots", "usage", "events", "requests", "operations", "operation_steps", "drift"),
    *("tokens", "server_history", "database_history"),
)


async def _fill(system: System, conn: rows.Connection, size: Size) -> Landmarks:
    await conn.execute("SET maintenance_work_mem = '256MB'")
    made = await rows.add_servers(conn, system.box, size.servers)
    await rows.add_tenants(conn, size.tenants, PER_SERVER)
    await conn.execute(history.UNEVEN)
    roomy = [(server_id, seq) for server_id, seq in made if seq % 15]
    await rows.add_spares(conn, system.box, roomy[: size.spares], per_server=1, first_ordinal=PER_SERVER + 1)
    await rows.add_free_slots(conn)
    await history.add_past(conn, size.past)
    await conn.execute("VACUUM ANALYZE")
    await conn.execute("CHECKPOINT")
    return await history.landmarks(conn)


# -- pages ------------------------------------------------------------------------------------------------------------


_PLACES = """
SELECT 1 + (SELECT count(*) FROM servers) / 100 AS middle_page,
  1 + (SELECT greatest(count(*) - 1, 0) FROM servers) / 50 AS last_page,
  (SELECT min(id) + (max(id) - min(id)) / 10 + 1 FROM events) AS old_event,
  (SELECT seq FROM operations ORDER BY seq OFFSET (SELECT count(*) FROM operations) / 10 LIMIT 1) AS old_operation,
  (SELECT seq FROM drift ORDER BY seq OFFSET (SELECT count(*) FROM drift) / 2 LIMIT 1) AS middle_drift,
  (SELECT concat((extract(epoch FROM at) * 1000000)::bigint, '.', id) FROM requests ORDER BY at
   OFFSET (SELECT count(*) FROM requests) / 10 LIMIT 1) AS old_request"""


async def _places(conn: rows.Connection, found: Landmarks) -> Pages:
    at = await conn.fetchrow(_PLACES)
    if at is None:
        raise RuntimeError("there is nothing to look at")
    today = "{:%Y-%m-%d}".format(await conn.fetchval("SELECT now()"))
    return {
        what: f"/admin{path}"
        for what, path in {
            "sign-in": "/sign-in",
            "hub": "",
            "part: hub": "/parts/hub?n={i}",
            "servers": "/pools",
            **{
                f"servers, status={word}": f"/pools?status={word}"
                for word in ("active", "full", "maintenance", "error")
            },
            "servers, server_type=dedicated": "/pools?server_type=dedicated",
            "servers, full and shared": "/pools?status=full&server_type=shared",
            "servers, a page in the middle": f"/pools?number={at['middle_page']}",
            "servers, the last page": f"/pools?number={at['last_page']}",
            **{
                f"servers, sort={order}, a page in the middle": f"/pools?sort={order}&number={at['middle_page']}"
                for order in ("name", "room", "health", "looked_at")
            },
            "part: table of servers": "/parts/pools?n={i}",
            "part: map": "/parts/map?n={i}",
            "a full server": f"/pools/{found.full_server}",
            "part: a full server": f"/parts/pools/{found.full_server}",
            "part: growth of a server by the hour": f"/parts/pools/{found.full_server}/growth",
            "part: growth of a server by the day": f"/parts/pools/{found.full_server}/growth?by=day",
            "part: databases of a large server": f"/parts/pools/{found.large_server}/databases?number=50",
            "a large server": f"/pools/{found.large_server}",
            "part: a large server": f"/parts/pools/{found.large_server}",
            "look for a database": "/databases",
            "databases that begin so": f"/databases?q={found.full_instance[:4]}",
            **{
                f"databases by {by}, a deep page": f"/databases?q={found.full_instance[:1]}&by={by}&after={found.full_instance}"
                for by in ("instance", "customer", "name")
            },
            "databases nearly full": "/databases?level=critical",
            "databases released": "/databases?status=released",
            "plans": "/plans",
            "a database": f"/databases/{found.full_instance}",
            "part: a database": f"/parts/databases/{found.full_instance}",
            "part: growth of a database": f"/parts/databases/{found.full_instance}/growth",
            "operations": "/operations",
            "part: operations": "/parts/operations?n={i}",
            "operations, state=failed": "/operations?state=failed",
            "operations, state=running": "/operations?state=running",
            "operations, a deep page": f"/operations?before={at['old_operation']}",
            "an operation of one step": f"/operations/{found.move}",
            "an operation on every server": f"/operations/{found.rollout}",
            "part: an operation on every server": f"/parts/operations/{found.rollout}",
            "events": "/events",
            "events of an instance": f"/events?instance={found.full_instance}",
            "events of a server": f"/events?subject={found.full_server}",
            "events of an operation": f"/events?subject={found.move}",
            "events of nobody": f"/events?subject={NOBODY}",
            "events, a deep page": f"/events?before={at['old_event']}",
            "requests": "/requests",
            "requests since today": f"/requests?since={today}",
            "requests to allocate": f"/requests?endpoint={ALLOCATE}",
            "requests refused or failed": "/requests?errors=true",
            "requests of a token": f"/requests?token={found.token}",
            "requests of an instance": f"/requests?instance={found.full_instance}",
            "requests, refused, of a token, since today": f"/requests?errors=true&token={found.token}&since={today}",
            "requests of nobody": "/requests?instance=nobody",
            "requests, a deep page": f"/requests?before={at['old_request']}",
            "drift": "/drift",
            "drift, a page in the middle": f"/drift?after={at['middle_drift']}",
            "tokens": "/tokens",
            **{f"file: {name}": f"/static/{name}" for name in ("hub.css", "hub.js", "vendor/htmx-2.0.11.min.js")},
        }.items()
    }


async def _pages(report: Report, caller: Client, large: Plane, small: Plane) -> None:
    given = report.options
    subjects: dict[str, Measure] = {}
    for what in large.pages:
        for name, plane in (("large", large), ("small", small)):
            subjects[f"{what}, {name}"] = partial(
                _asked, caller, plane.api, plane.pages[what], given.size(PER_ROUND, 2)
            )
    await in_turn(1, subjects)  # everything warm: plans, templates, pages of the tables
    measured = await in_turn(given.size(ROUNDS, 1), subjects)
    for name, plane in (("large", large), ("small", small)):
        for what, path in plane.pages.items():
            plain, sent = _length(plane.api, path), _length(plane.api, path, ("Accept-Encoding", "gzip, br"))
            report.series(f"{what}, {name}", measured[f"{what}, {name}"], concurrency=1, bytes=plain, bytes_sent=sent)
    for what in large.pages:
        report.ratio(f"p95, {what}, large / small", ratio(measured[f"{what}, large"], measured[f"{what}, small"], _p95))
    _judge(report, list(large.pages))


def _judge(report: Report, pages: list[str]) -> None:
    """The slowest and the largest, and whatever else misses: a line for each of fifty pages would hide them."""
    told = {what: report.measured[f"{what}, large"] for what in pages}
    by_time, by_bytes = (sorted(pages, key=lambda what: -told[what][figure]) for figure in ("p95_ms", "bytes"))
    for place, what in enumerate(by_time):
        if place == 0 or told[what]["p95_ms"] > P95_MS:
            which = f"the slowest of {len(pages)} pages, parts and files" if place == 0 else "also"
            report.target(f"{which}: {what}, large: p95", "<=", P95_MS, told[what]["p95_ms"], "ms")
    for place, what in enumerate(by_bytes):
        if place == 0 or told[what]["bytes"] > KB * 1000:
            which = "the largest of them" if place == 0 else "also"
            report.target(f"{which}: {what}, large", "<=", KB, told[what]["bytes"] / 1000, "kB")


async def _asked(caller: Client, api: Http, path: str, number: int) -> Round:
    first = next(itertools.islice(_numbers, number, None)) - number
    done = await caller.get(api, path, connections=1, total=number, first=first)
    return Round(done.ms, done.seconds)


def _p95(one: Round) -> float:
    return percentile(one.ms, 95)


def _length(api: Http, path: str, *more: tuple[str, str]) -> int:
    """Of the body, in bytes as they come."""
    connection = HTTPConnection(HOST, api.port, timeout=60)
    try:
        connection.request("GET", path.replace("{i}", "x"), headers={**api.headers, **dict(more)})
        return len(connection.getresponse().read())
    finally:
        connection.close()


def _signed_in(system: System, api: Http) -> str:
    """The cookie; an API that has just started may not know its token yet."""
    deadline = time.monotonic() + 20
    while True:
        connection = HTTPConnection(HOST, api.port, timeout=60)
        form = urlencode({"token": system.token.reveal()})
        connection.request("POST", "/admin/sign-in", form, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        cookie = (answer.headers.get("Set-Cookie") or "").partition(";")[0]
        connection.close()
        if cookie:
            return cookie
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody can sign in: {answer.status}")
        time.sleep(0.2)


# -- open pages -------------------------------------------------------------------------------------------------------


async def _live(report: Report, system: System, caller: Client, large: Plane) -> None:
    """The fleet changes in both; the browsers are open in one."""
    given, api = report.options, Http(large.api.port, {"Authorization": f"Bearer {system.token.reveal()}"})
    number, total = given.size(BROWSERS, 8), given.size(ALLOCATIONS, 20)
    parts = (
        *(("/admin/parts/hub",),) * 4,
        *(("/admin/parts/map", "/admin/parts/pools"),) * 2,
        (large.pages["part: a full server"],),
        ("/admin/parts/operations",),
    )
    opened = Open(large.api.port, number, parts, large.api.headers)
    process = psutil.Process(system.processes["api-large"].pid)
    first = itertools.count(1, total)
    alone: list[Allocated] = []
    beside: list[Allocated] = []
    seen = [Watched() for _ in range(given.size(LIVE_ROUNDS, 1))]
    async with _changing(large.dsn):
        await _allocated(caller, api, process, total, next(first))
        for each in seen:
            alone.append(await _allocated(caller, api, process, total, next(first)))
            async with browsers(opened, each):
                beside.append(await _allocated(caller, api, process, total, next(first)))
    _tell(report, number, alone, beside, seen)


def _tell(report: Report, number: int, alone: list[Allocated], beside: list[Allocated], seen: list[Watched]) -> None:
    quiet, watched = Series([one.round for one in alone]), Series([one.round for one in beside])
    shares = [[one.api_share for one in each] for each in (alone, beside)]
    report.series("allocate, nobody watches, c=1", quiet, api_share_of_a_core=shares[0])
    report.series(f"allocate, {number} browsers watch, c=1", watched, api_share_of_a_core=shares[1])
    median = report.ratio(f"median, allocate, {number} browsers / none", ratio(watched, quiet, lambda one: one.median))
    p99 = report.ratio(f"p99, allocate, {number} browsers / none", ratio(watched, quiet, lambda one: one.p99))
    for each in seen:
        rate = each.parts / each.seconds
        report.note(
            f"{number} browsers, {each.seconds:.0f} s: told {each.told} times, asked for {each.parts} parts ({rate:.0f} a second, "
            f"{each.megabytes:.0f} MB, by status {dict(each.statuses)}), {each.ended} streams ended; their own process took "
            f"{each.cpu_share:.2f} of a core"
        )
    report.note(
        f"of a core, the API took by round: while nobody watches {shares[0]}, beside {number} browsers {shares[1]}"
    )
    what = f"allocate beside {number} open pages while the fleet changes"
    report.target(f"{what}: median / nobody watches", "<=", 2, median)
    report.target(f"{what}: p99 / nobody watches", "<=", 2, p99)
    report.target(f"{what}: refused", "<=", 0, sum(one.refused for one in beside), "requests")


@asynccontextmanager
async def _changing(dsn: str) -> AsyncIterator[None]:
    """A server is looked at, five times a second."""
    conn = await asyncpg.connect(dsn)

    async def change() -> None:
        for number in itertools.count(1):
            await conn.execute(
                "UPDATE servers SET version = version + 1 WHERE seq = $1 % (SELECT max(seq) FROM servers)", number
            )
            await asyncio.sleep(CHANGE_EVERY_S)

    task = asyncio.create_task(change())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await conn.close()


async def _allocated(caller: Client, api: Http, process: psutil.Process, total: int, first: int) -> Allocated:
    """In batches. Refusals are counted, and not left out of the times."""
    began, cpu, seconds = time.monotonic(), sum(process.cpu_times()[:2]), 0.0
    ms: list[float] = []
    refused = 0
    batch = max(1, total // BATCHES)
    for start in range(first, first + total, batch):
        done = await caller.run(Load(api.port, 1, batch, "POST", ALLOCATE, ASK, api.headers, start))
        refused += batch - done.statuses.get("200", 0)
        ms, seconds = [*ms, *done.ms], seconds + done.seconds
        await asyncio.sleep(PAUSE_S)
    share = (sum(process.cpu_times()[:2]) - cpu) / (time.monotonic() - began)
    return Allocated(Round(ms, seconds), round(share, 3), refused)


def _spares(given: Options) -> int:
    """And a tenth more: those on servers that are ill or cordoned are not handed out."""
    return given.size(ALLOCATIONS, 20) * (2 * given.size(LIVE_ROUNDS, 1) + 1) * 11 // 10


if __name__ == "__main__":
    carry_out(bench, __doc__)
