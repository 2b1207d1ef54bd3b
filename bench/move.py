"""How long a move shuts a database's door: a pgbench database goes from pool to pool and back, against a bare dump and restore.

API, broker, worker and beat run as shipped; the pools are made by the `process` provisioner. The baseline is `pg_dump -Fd -j`
and `pg_restore -j` of the same database by a superuser into an empty one on the other pool's server: without a fence, without
comparing anything, and without what a dump leaves out.
"""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bench import rows
from bench.client import Client, Load, client
from bench.figures import Measure, Round, in_turn, ratio
from bench.pool import POOLS
from bench.report import Options, Report, carry_out
from bench.system import Http, Postgres, System
from database_service.domain.secret import Secret
from database_service.domain.sizing import postgres_settings
from database_service.wiring import process_provisioner

ALLOCATE, DATABASE = "/api/database/allocate", "/api/database/databases/m-1"
ASK = '{"instance_id": "m-1", "customer_id": "c-1", "plan_tier": "professional"}'
JOBS = 2
GIB_SCALE = 70
MEMORY = 512 * 1024**2
PATIENCE_S = 900
POLL_S = 0.05


async def bench(system: System, given: Options) -> None:
    report = Report("move", given, system)
    control, broker = system.control(), system.broker()
    dsn = await rows.control_database(control, "move")
    settings = {"auto_order": "false", "spares_least": "0", "spare_horizon_s": "0.001", "move_jobs": str(JOBS)}
    api = system.api(dsn, broker, **settings)
    system.worker(dsn, broker, **settings)
    scale = given.size(GIB_SCALE, 1)
    source, target = (system.postgres(name, _settings()) for name in ("bare-source", "bare-target"))
    try:
        async with client() as caller:
            await _pools(caller, api)
            allocated = await _allocated(caller, api)
            await _pgbench(
                system,
                scale,
                allocated["db_port"],
                allocated["db_user"],
                Secret(allocated["db_password"]),
                allocated["db_name"],
            )
            await _pgbench(system, scale, source.port, "bench", source.password, "postgres")
            ours, bare = f"move of pgbench at scale {scale}: door shut", "bare pg_dump | pg_restore, in turn"
            subjects: dict[str, Measure] = {
                ours: partial(_moved, caller, api),
                bare: partial(_bare, system, source, target),
            }
            measured = await in_turn(given.size(3, 1), subjects)
            size = (await _get(caller, api, "/api/database/operations?limit=1"))["operations"][0]["steps"][0][
                "progress"
            ]["size_bytes"]
    finally:
        await process_provisioner(system.settings(dsn, broker)).stop_all()
    report.all_of(measured, scale=scale, jobs=JOBS, size_mb=round(size / 1024**2))
    got = report.ratio(f"{ours} / {bare}", ratio(measured[ours], measured[bare], lambda r: r.median))
    report.target("move: door shut / bare pg_dump and pg_restore of the same database", "<=", 2, got)
    report.note(
        "the move also drains, compares every row of both sides, and opens the door; the bare side checks nothing"
    )
    report.finish()


def _settings() -> Mapping[str, str]:
    return postgres_settings(slots=50, memory_bytes=MEMORY, cpu=2)


async def _pools(caller: Client, api: Http) -> None:
    order = json.dumps({"max_instances": 50, "memory_limit": MEMORY})
    for _ in range(2):
        ordered = await caller.run(Load(api.port, 1, 1, "POST", POOLS, order, api.headers, keep_bodies=True))
        pool = json.loads(ordered.must_all_be(202).bodies[0])["id"]
        while (await _get(caller, api, f"{POOLS}/{pool}"))["status"] != "active":  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)


async def _allocated(caller: Client, api: Http) -> dict[str, Any]:
    load = Load(api.port, 1, 1, "POST", ALLOCATE, ASK, {**api.headers, "Prefer": "wait=30"}, keep_bodies=True)
    answer: dict[str, Any] = json.loads((await caller.run(load)).must_all_be(200).bodies[0])
    return answer


async def _get(caller: Client, api: Http, path: str) -> dict[str, Any]:
    look = Load(api.port, 1, 1, "GET", path, "", api.headers, keep_bodies=True)
    answer: dict[str, Any] = json.loads((await caller.run(look)).must_all_be(200).bodies[0])
    return answer


async def _moved(caller: Client, api: Http) -> Round:
    """There, or back: wherever the other pool is. What the operation says that users were shut out for."""
    path = "/api/database/admin/databases/m-1/move"
    begun = await caller.run(Load(api.port, 1, 1, "POST", path, "{}", api.headers, keep_bodies=True))
    operation = json.loads(begun.must_all_be(202).bodies[0])
    async with asyncio.timeout(PATIENCE_S):
        while operation["state"] in ("pending", "running"):
            await asyncio.sleep(POLL_S)
            operation = await _get(caller, api, f"/api/database/operations/{operation['id']}")
    if operation["state"] != "succeeded":
        raise RuntimeError(f"the move is {operation['state']}: {operation['error']}")
    seconds = operation["steps"][0]["progress"]["downtime_s"]
    return Round([seconds * 1000], seconds)


async def _bare(system: System, source: Postgres, target: Postgres) -> Round:
    await _psql(system, target, "DROP DATABASE IF EXISTS arrived")
    await _psql(system, target, "CREATE DATABASE arrived")
    folder = Path(tempfile.mkdtemp(dir=system.home))
    begun = time.monotonic()
    dump = ["pg_dump", "-Fd", "-Z0", f"-j{JOBS}", "--no-sync", "-f", str(folder / "dump"), *_at(source, "postgres")]
    await _run(system, source.password, *dump)
    await _run(system, target.password, "pg_restore", f"-j{JOBS}", *_at(target, "arrived"), str(folder / "dump"))
    seconds = time.monotonic() - begun
    shutil.rmtree(folder)
    return Round([seconds * 1000], seconds)


async def _pgbench(system: System, scale: int, port: int, user: str, password: Secret, database: str) -> None:
    at = ("-h", "127.0.0.1", "-p", str(port), "-U", user)
    await _run(system, password, "pgbench", "-iq", "--foreign-keys", "-s", str(scale), *at, database)


async def _psql(system: System, server: Postgres, statement: str) -> None:
    await _run(system, server.password, "psql", "-qX", *_at(server, "postgres"), "-c", statement)


def _at(server: Postgres, database: str) -> tuple[str, ...]:
    return "-h", "127.0.0.1", "-p", str(server.port), "-U", "bench", "-d", database


async def _run(system: System, password: Secret, program: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        system.runtime.bin_dir / program, *arguments,
        env={"PGPASSWORD": password.reveal(), "PATH": "/usr/bin:/bin"}, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{program}: {said.decode(errors='replace')[-500:]}")


if __name__ == "__main__":
    carry_out(bench, __doc__)
