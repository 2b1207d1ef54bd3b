"""How soon a new pool serves: from the order over HTTP to a first allocation, against bare initdb and start.

API, broker, worker and beat run as shipped; the pool is made by the `process` provisioner. The baseline is PostgreSQL's own
initdb and postgres with the same settings, until a login works.
"""

import asyncio
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import asyncpg

from bench import rows
from bench.client import Client, Load, client
from bench.figures import Measure, Round, in_turn, ratio
from bench.report import Options, Report, carry_out
from bench.system import HOST, Http, System, free_port
from database_service.domain.sizing import postgres_settings
from database_service.wiring import process_provisioner

POOLS, ALLOCATE = "/api/database/admin/pools", "/api/database/allocate"
SLOTS, MEMORY = 50, 512 * 1024**2
ORDER = json.dumps({"max_instances": SLOTS, "memory_limit": MEMORY})
ASK = '{"instance_id": "p-{i}", "customer_id": "c-1", "plan_tier": "free"}'
POLL_S = 0.005
NOT_YET = (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError)

_numbers = itertools.count(1)


async def bench(system: System, given: Options) -> None:
    report = Report("pool", given, system)
    control, broker = system.control(), system.broker()
    dsn = await rows.control_database(control, "pool")
    # No spares: the first allocation is built, and nothing is built behind it while the baseline runs.
    settings = {"auto_order": "false", "spares_least": "0", "spare_horizon_s": "0.001"}
    api = system.api(dsn, broker, **settings)
    system.worker(dsn, broker, **settings)
    try:
        async with client() as caller:
            await _first_order(system, caller, api)
            ours, bare = "order a pool → first allocation", "bare initdb + start → first login"
            subjects: dict[str, Measure] = {ours: partial(_ordered, caller, api), bare: partial(_bare, system)}
            measured = await in_turn(given.size(7, 1), subjects)
    finally:
        await process_provisioner(system.settings(dsn, broker)).stop_all()
    report.all_of(measured, slots=SLOTS, memory_mb=MEMORY // 1024**2)
    got = report.ratio(f"{ours} / {bare}", ratio(measured[ours], measured[bare], lambda r: r.median))
    report.note("the clock stops when the allocation is answered; each is proved by a login afterwards")
    report.target("embedded: order of a pool → first allocation / bare initdb + start", "<=", 1.3, got)
    report.finish()


async def _first_order(system: System, caller: Client, api: Http) -> None:
    """Nobody counts the first one: files and connections are cold, and the worker may just be starting."""
    await _ordered(caller, api)
    await _bare(system)


async def _ordered(caller: Client, api: Http) -> Round:
    return await ordered_and_allocated(caller, api, ORDER, next(_numbers))


async def ordered_and_allocated(caller: Client, api: Http, order: str, number: int) -> Round:
    """Ordered, and at once asked for a database with patience; the pool is then closed, so that the next one is used."""
    begun = time.monotonic()
    ordered = await caller.run(Load(api.port, 1, 1, "POST", POOLS, order, api.headers, keep_bodies=True))
    wait = {**api.headers, "Prefer": "wait=30"}
    load = Load(api.port, 1, 1, "POST", ALLOCATE, ASK, wait, number, keep_bodies=True)
    done = (await caller.run(load)).must_all_be(200)
    seconds = time.monotonic() - begun
    await _log_in(done.bodies[0])
    pool = json.loads(ordered.must_all_be(202).bodies[0])["id"]
    await caller.run(Load(api.port, 1, 1, "POST", f"{POOLS}/{pool}/cordon", "{}", api.headers))
    return Round([seconds * 1000], seconds)


async def _log_in(body: str) -> None:
    told = json.loads(body)
    conn = await asyncpg.connect(
        host=told["db_host"], port=told["db_port"], user=told["db_user"], password=told["db_password"],
        database=told["db_name"],
    )  # fmt: skip
    await conn.close()


async def _bare(system: System) -> Round:
    home = _room(system)
    begun = time.monotonic()
    process, port = await asyncio.to_thread(_initdb_and_start, system, home)
    try:
        await _until_login(port)
        seconds = time.monotonic() - begun
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(home)
    return Round([seconds * 1000], seconds)


def _room(system: System) -> Path:
    home = Path(tempfile.mkdtemp(dir=system.home))
    home.chmod(0o755)
    system.runtime.account.owns(home)
    return home


def _initdb_and_start(system: System, home: Path) -> tuple["subprocess.Popen[bytes]", int]:
    """As anybody would, on durable storage; the login needs no password, which is a little less work."""
    runtime, data, port = system.runtime, home / "data", free_port()
    runtime.run("initdb", [f"--pgdata={data}", "--username=bench", "--auth=trust", "--encoding=UTF8", "--locale=C"])
    settings = postgres_settings(slots=SLOTS, memory_bytes=MEMORY, cpu=2)
    settings |= {"listen_addresses": HOST, "port": str(port), "unix_socket_directories": ""}
    arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (system.home / "bare.log").open("ab") as log:
        process = subprocess.Popen(
            [runtime.bin_dir / "postgres", "-D", data, *arguments],
            stdout=log,
            stderr=log,
            cwd="/",
            env={"LC_ALL": "C"},
            **runtime.account.popen_arguments(),
        )
    return process, port


async def _until_login(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                conn = await asyncpg.connect(host=HOST, port=port, user="bench", database="postgres")
            except NOT_YET:
                await asyncio.sleep(POLL_S)
                continue
            await conn.close()
            return


if __name__ == "__main__":
    carry_out(bench, __doc__)
