"""How fast a database is handed out: from a spare, built inline, and how fast spares are refilled.

Baselines, each in turn with ours: one INSERT behind the same web stack, a bare INSERT, bare CREATE ROLE and CREATE DATABASE.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import cast

import asyncpg

from bench import floor, rows
from bench.client import Client, Load, Outcome, client
from bench.figures import Round, in_turn, ratio
from bench.report import Options, Report, carry_out
from bench.system import HOST, Http, Postgres, System
from database_service.broker.nudge import Silent
from database_service.deps import Deps
from database_service.domain.ids import ServerId, Who
from database_service.domain.servers import Address, Server, Status
from database_service.reconcilers import capacity
from database_service.reconcilers import servers as server_steps
from database_service.reconcilers.ordering import Order, place
from database_service.secretbox import new_password, scram_verifier
from database_service.wiring import open_deps

ALLOCATE = "/api/database/allocate"
ASK = '{"instance_id": "b-{i}", "customer_id": "c-1", "plan_tier": "free"}'
ASK_STARTER = ASK.replace("free", "starter")
PER_ROUND = {1: 250, 16: 1000, 64: 1280}
WARM_UP = 100
STRATEGIES = ("WAL_LOG", "FILE_COPY")
WIDTHS = (1, 2, 4, 6)

_numbers = itertools.count(1)


async def bench(system: System, given: Options) -> None:
    report = Report("allocate", given, system)
    control, tenant, broker = system.control(), system.tenant(), system.broker()
    async with client() as caller:
        await _from_spares(report, system, control, broker, caller)
        await _built(report, system, control, tenant, broker, caller)
    report.finish()


# -- from a spare -----------------------------------------------------------------------------------------------------


async def _from_spares(report: Report, system: System, control: Postgres, broker: str, caller: Client) -> None:
    given = report.options
    dsn = await rows.control_database(control, "spares")
    rounds = given.size(5, 1)
    need = sum(_per_round(given, c) + WARM_UP for c in PER_ROUND) * rounds
    await _stock(system, dsn, need + (_per_round(given, 1) + WARM_UP) * rounds)
    api, base = system.api(dsn, broker), system.floor(dsn)
    report.note("the spares of this part are rows made by SQL, sealed password included; their databases do not exist")
    report.note("the API runs as shipped, its own log line for each request included; the floor writes none")
    await _client_ceiling(report, caller)
    for connections in PER_ROUND:
        await _one_width(report, dsn, api, base, caller, connections, rounds)
    starter = {
        "allocate, plan starter (nudges for its limits), c=1": partial(_posted, given, caller, api, ASK_STARTER, 1)
    }
    report.all_of(await in_turn(rounds, starter), concurrency=1)
    await _compare_memory(report, system)


async def _stock(system: System, dsn: str, spares: int) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        servers = await rows.add_servers(conn, system.box, -(-spares // rows.POOL_SLOTS))
        await rows.add_spares(conn, system.box, servers, per_server=rows.POOL_SLOTS)
        await conn.execute("VACUUM ANALYZE")
    finally:
        await conn.close()


async def _one_width(
    report: Report, dsn: str, api: Http, base: Http, caller: Client, connections: int, rounds: int
) -> None:
    given = report.options
    ours, web, bare = (
        f"{what}, c={connections}" for what in ("allocate from a spare", "web stack + INSERT", "bare INSERT")
    )
    subjects = {
        ours: partial(_posted, given, caller, api, ASK, connections),
        web: partial(_posted, given, caller, base, ASK, connections),
        bare: partial(_inserts, dsn, connections, _per_round(given, connections)),
    }
    measured = await in_turn(rounds, subjects)
    report.all_of(measured, concurrency=connections)
    median = report.ratio(f"median, {ours} / {web}", ratio(measured[ours], measured[web], lambda r: r.median))
    p99 = report.ratio(f"p99, {ours} / {web}", ratio(measured[ours], measured[web], lambda r: r.p99))
    rate = report.ratio(f"rate, {ours} / {web}", ratio(measured[ours], measured[web], lambda r: r.rate))
    if connections == 1:
        report.target("allocate from a spare, c=1: median / one INSERT behind the same web stack", "<=", 1.5, median)
        report.target("allocate from a spare, c=1: p99 / one INSERT behind the same web stack", "<=", 2, p99)
    if connections == 64:
        report.target("allocate from a spare, c=64: share of the web stack's own rate", ">=", 0.7, rate)


def _per_round(given: Options, connections: int) -> int:
    return given.size(PER_ROUND[connections], connections * 2)


async def _posted(given: Options, caller: Client, to: Http, body: str, connections: int) -> Round:
    """A warm-up nobody counts, then the round."""
    path = ALLOCATE if to.headers else "/insert"
    warm_up = given.size(WARM_UP, connections)
    await caller.post(to, path, body, connections=connections, total=warm_up, first=_next(warm_up))
    total = _per_round(given, connections)
    done = await caller.post(to, path, body, connections=connections, total=total, first=_next(total))
    return Round(done.ms, done.seconds)


def _next(total: int) -> int:
    """The first of so many numbers that were never used."""
    first = next(_numbers)
    for _ in range(total):
        next(_numbers)
    return first


async def _inserts(dsn: str, connections: int, total: int) -> Round:
    """Bare INSERT … COMMIT through asyncpg, prepared as it prepares."""
    conns = [await asyncpg.connect(dsn) for _ in range(connections)]
    await conns[0].execute(floor.TABLE)
    try:
        return await _each(total, [partial(_insert, conn) for conn in conns])
    finally:
        for conn in conns:
            await conn.close()


async def _insert(conn: rows.Connection, number: int) -> None:
    await conn.fetchval(floor.INSERT, f"b-{number}", "c-1", "free")


async def _each(total: int, workers: list[Callable[[int], Awaitable[object]]]) -> Round:
    """Do a thing `total` times, each worker one at a time."""
    left, ms = iter(range(total)), list[float]()

    async def work(do: Callable[[int], Awaitable[object]]) -> None:
        for _ in left:
            begun = time.perf_counter()
            await do(next(_numbers))
            ms.append((time.perf_counter() - begun) * 1000)

    begun = time.perf_counter()
    await asyncio.gather(*map(work, workers))
    return Round(ms, time.perf_counter() - begun)


class _Canned(asyncio.Protocol):
    """Answers at once, whatever is asked."""

    ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, _data: bytes) -> None:
        self._transport.write(self.ANSWER)


async def _client_ceiling(report: Report, caller: Client) -> None:
    """What the client itself can do, against a server that does nothing."""
    server = await asyncio.get_running_loop().create_server(_Canned, HOST, 0)
    try:
        to = Http(server.sockets[0].getsockname()[1])
        total = report.options.size(20_000, 128)
        subject = {"client's own ceiling (a canned answer), c=64": partial(_canned, caller, to, total)}
        report.all_of(await in_turn(1, subject), concurrency=64)
    finally:
        server.close()


async def _canned(caller: Client, to: Http, total: int) -> Round:
    done = await caller.post(to, "/", ASK, connections=64, total=total, first=0)
    return Round(done.ms, done.seconds)


async def _compare_memory(report: Report, system: System) -> None:
    megabytes = system.memory_mb("api")
    report.note(f"memory of the API process after these loads: {megabytes:.0f} MB")
    report.target("memory of the API under load", "<=", 200, megabytes, "MB")


# -- with real databases ----------------------------------------------------------------------------------------------


async def _built(
    report: Report, system: System, control: Postgres, tenant: Postgres, broker: str, caller: Client
) -> None:
    dsn = await rows.control_database(control, "real")
    settings = system.settings(dsn, broker, auto_order=False, spares_least=0, build_width=4)
    async with open_deps(settings, nudge=Silent()) as deps:
        server = await _adopted(deps, tenant)
        api = system.api(dsn, broker, "api-real", auto_order="false", spares_least="0")
        await _bare_creations(report, tenant)
        await _proved(report, deps, api, caller)
        await _inline(report, api, tenant, caller)
        await _refilled(report, deps, tenant)
    report.note(f"the tenant server {server.name} is one PostgreSQL with the settings of a pool of 50, fsync on")


async def _adopted(deps: Deps, tenant: Postgres) -> Server:
    """The tenant server as an active pool, hardened as any."""
    order = Order(
        max_instances=5000, provisioner="external", address=Address(HOST, tenant.port), admin_user="bench",
        admin_password=tenant.password,
    )  # fmt: skip
    async with deps.db.transaction() as conn:
        server = await place(conn, deps, Who("bench"), order, None)
    if server is None:
        raise RuntimeError("an order without a request key conflicts with nothing")
    settled = await server_steps.settle(deps, ServerId(server.id), deps.policy.server_start_timeout)
    if settled is None or settled.status is not Status.ACTIVE:
        raise RuntimeError(f"the tenant server did not become active: {settled and settled.last_error}")
    return settled


async def _bare_creations(report: Report, tenant: Postgres) -> None:
    """CREATE ROLE and CREATE DATABASE and nothing else, as anybody would; compared with what the spares part measured."""
    rounds = report.options.size(2, 1)
    for connections, total in ((1, 8), (16, 32)):
        number = report.options.size(total, 2)
        subjects = {
            f"bare CREATE ROLE + CREATE DATABASE {strategy}, c={connections}": partial(
                _creations, tenant, strategy, connections, number
            )
            for strategy in STRATEGIES
        }
        measured = await in_turn(rounds, subjects)
        report.all_of(measured, concurrency=connections)
        fastest = min(report.measured[name]["median_ms"] for name in subjects)
        ours = report.measured[f"allocate from a spare, c={connections}"]["median_ms"]
        wanted = 40 if connections == 1 else 60
        what = f"allocate from a spare, c={connections}: times faster than bare CREATE ROLE + CREATE DATABASE"
        report.target(what, ">=", wanted, fastest / ours)


async def _creations(tenant: Postgres, strategy: str, connections: int, total: int) -> Round:
    """The faster strategy counts as the baseline. What is made stays: to drop it takes longer, and a full server is no slower."""
    conns = [await asyncpg.connect(tenant.dsn()) for _ in range(connections)]
    try:
        return await _each(total, [partial(_create, conn, strategy, None) for conn in conns])
    finally:
        for conn in conns:
            await conn.close()


async def _create(conn: rows.Connection, strategy: str, verifier: str | None, number: int) -> None:
    password = f"PASSWORD '{verifier}'" if verifier else ""
    await conn.execute(f"CREATE ROLE bare_{number} LOGIN {password}")
    await conn.execute(f"CREATE DATABASE bare_{number} OWNER bare_{number} TEMPLATE template0 STRATEGY {strategy}")
    if verifier:
        await conn.execute(f"REVOKE ALL ON DATABASE bare_{number} FROM PUBLIC")


async def _proved(report: Report, deps: Deps, api: Http, caller: Client) -> None:
    """Spares that were really built, claimed over HTTP, and every answer proved by logging in with it."""
    number = report.options.size(24, 2)
    await _refill(deps, number)
    load = Load(api.port, 4, number, "POST", ALLOCATE, ASK, api.headers, _next(number), keep_bodies=True)
    done = (await caller.run(load)).must_all_be(200)
    for body in done.bodies:
        await _log_in(json.loads(body))
    report.note(f"{number} real spares were claimed over HTTP and each proved by a login that made a table")


async def _log_in(told: dict[str, str]) -> None:
    conn = await asyncpg.connect(
        host=told["db_host"], port=told["db_port"], user=told["db_user"], password=told["db_password"],
        database=told["db_name"],
    )  # fmt: skip
    try:
        await conn.execute("CREATE TABLE public.proof (n integer)")
    finally:
        await conn.close()


async def _inline(report: Report, api: Http, tenant: Postgres, caller: Client) -> None:
    rounds, number = report.options.size(3, 1), report.options.size(10, 2)
    ours, bare = "allocate without a spare, c=1", "bare CREATE ROLE + CREATE DATABASE + REVOKE, c=1"
    subjects = {ours: partial(_allocated, caller, api, number)}
    subjects |= {f"{bare}, {strategy}": partial(_as_hardened, tenant, strategy, number) for strategy in STRATEGIES}
    measured = await in_turn(rounds, subjects)
    report.all_of(measured, concurrency=1)
    ratios = {
        strategy: report.ratio(
            f"median, {ours} / {bare}, {strategy}",
            ratio(measured[ours], measured[f"{bare}, {strategy}"], lambda r: r.median),
        )
        for strategy in STRATEGIES
    }
    report.target("allocate without a spare, c=1: median / bare, the same strategy", "<=", 1.3, ratios["FILE_COPY"])


async def _allocated(caller: Client, api: Http, number: int) -> Round:
    done: Outcome = await caller.post(api, ALLOCATE, ASK, connections=1, total=number, first=_next(number))
    return Round(done.ms, done.seconds)


async def _as_hardened(tenant: Postgres, strategy: str, number: int) -> Round:
    verifier = scram_verifier(new_password())
    conn = await asyncpg.connect(tenant.dsn())
    try:
        return await _each(number, [partial(_create, conn, strategy, verifier)])
    finally:
        await conn.close()


# -- refill -----------------------------------------------------------------------------------------------------------


async def _refilled(report: Report, deps: Deps, tenant: Postgres) -> None:
    """Each burst ends with the CHECKPOINT it leaves behind, inside the clock: what is borrowed is paid for."""
    rounds, number = report.options.size(2, 1), report.options.size(24, 2)
    ours = "refill of spares"
    subjects = {ours: partial(_refill_and_settle, deps, tenant, number)} | {
        f"bare CREATE DATABASE {strategy}, {width} at once": partial(_burst, tenant, strategy, width, number)
        for strategy in STRATEGIES
        for width in WIDTHS[: report.options.size(len(WIDTHS), 1)]
    }
    measured = await in_turn(rounds, subjects)
    report.all_of(measured, databases=number)
    best = max((name for name in subjects if name != ours), key=lambda name: measured[name].rate)
    report.note(f"best of the bare bursts, each with its checkpoint: {best}")
    rate = report.ratio(f"rate, {ours} / {best}", ratio(measured[ours], measured[best], lambda r: r.rate))
    report.target("refill of spares: share of bare CREATE DATABASE at its best width and strategy", ">=", 0.8, rate)


async def _refill_and_settle(deps: Deps, tenant: Postgres, number: int) -> Round:
    begun = time.perf_counter()
    await _refill(deps, number)
    await _checkpoint(tenant)
    seconds = time.perf_counter() - begun
    await _use_up(deps)
    return Round([seconds * 1000 / number] * number, seconds)


async def _refill(deps: Deps, number: int) -> None:
    """The worker's own step, told to want just so many, whatever the demand was just now."""
    wanting = replace(deps, policy=replace(deps.policy, spares_least=number, spare_horizon=timedelta(milliseconds=1)))
    begun = await capacity.refill(wanting)
    if begun != number:
        raise RuntimeError(f"{begun} spares were begun instead of {number}")


async def _use_up(deps: Deps) -> None:
    """No spare is left, so that the next refill builds as many again; their databases stay."""
    async with deps.db.connection() as conn:
        await conn.execute("UPDATE databases SET status = 'purged', due_at = now() WHERE status = 'spare'")


async def _burst(tenant: Postgres, strategy: str, width: int, number: int) -> Round:
    conns = [await asyncpg.connect(tenant.dsn()) for _ in range(width)]
    try:
        begun = time.perf_counter()
        done = await _each(number, [partial(_create_alone, conn, strategy) for conn in conns])
        await _checkpoint(tenant)
        return Round(done.ms, time.perf_counter() - begun)
    finally:
        for conn in conns:
            await conn.close()


async def _create_alone(conn: rows.Connection, strategy: str, number: int) -> None:
    await conn.execute(f"CREATE DATABASE bare_{number} TEMPLATE dbs_template_default STRATEGY {strategy}")


async def _checkpoint(tenant: Postgres) -> None:
    conn = await asyncpg.connect(tenant.dsn())
    try:
        await conn.execute("CHECKPOINT")
    finally:
        await conn.close()


if __name__ == "__main__":
    carry_out(bench, __doc__)
