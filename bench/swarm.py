"""How soon a new pool serves on a Docker Swarm: from the order over HTTP to a first allocation, and ten ordered at once,
against bare `docker service create` of the same image until a login works.

API, broker, worker and beat run as shipped; the Swarm is one node of its own making (see tests/support/swarm_lab.py), with the
image present. It needs root, and what the Swarm tests need.
"""

import asyncio
import itertools
import json
import tempfile
from functools import partial
from pathlib import Path
from time import monotonic

import asyncpg
import uvloop

from bench import rows
from bench.client import Client, Load, client
from bench.figures import Measure, Round, in_turn, ratio
from bench.pool import NOT_YET, POLL_S, POOLS, ordered_and_allocated
from bench.report import Options, Report, options
from bench.system import REPOSITORY, Http, System, running
from database_service.domain.sizing import postgres_settings
from support.lab_images import POSTGRES, POSTGRES_BASE
from support.machines import Machine
from support.swarm_lab import Lab, running_lab, why_not

SLOTS, MEMORY = 50, 512 * 1024**2
ORDER = json.dumps({"max_instances": SLOTS, "memory_limit": MEMORY})
AT_ONCE = 10
PATIENCE_S = 120
PASSWORD = "of-a-bare-service"
PORTS = range(15000, 20000)

_ports = itertools.cycle(PORTS)
_numbers = itertools.count(1)


async def bench(system: System, given: Options, lab: Lab) -> None:
    report = Report("swarm", given, system)
    control, broker = system.control(), system.broker()
    dsn = await rows.control_database(control, "swarm")
    storage = lab.folder / "pools"
    storage.mkdir()
    settings = {
        "auto_order": "false", "spares_least": "0", "spare_horizon_s": "0.001", "provisioner": "swarm",
        "postgres_image": POSTGRES, "docker_host": lab.manager.url, "swarm_publish": "true",
        "swarm_pools_dir": str(storage), "swarm_tls": "false",
    }  # fmt: skip
    report.note("without TLS: the PostgreSQL of the images that are made here has no OpenSSL")
    api = system.api(dsn, broker, **settings)
    system.worker(dsn, broker, **settings)
    many = given.size(AT_ONCE, 2)
    async with client() as caller:
        ours, bare = "order a pool → first allocation", "bare docker service create → first login"
        all_ours, all_bare = f"order {many} pools at once → all active", f"{many} bare services at once → first logins"
        one_by_one: dict[str, Measure] = {
            ours: partial(_allocated, caller, api),
            bare: partial(_bare, lab.manager, lab, 1),
        }
        at_once: dict[str, Measure] = {
            all_ours: partial(_all_active, caller, api, many),
            all_bare: partial(_bare, lab.manager, lab, many),
        }
        for measure in one_by_one.values():
            await measure()  # nobody counts the first: files and connections are cold
        measured = await in_turn(given.size(7, 1), one_by_one) | await in_turn(given.size(3, 1), at_once)
    report.all_of(measured, slots=SLOTS, memory_mb=MEMORY // 1024**2)
    single = report.ratio(f"{ours} / {bare}", ratio(measured[ours], measured[bare], lambda r: r.median))
    together = report.ratio(
        f"{all_ours} / {all_bare}", ratio(measured[all_ours], measured[all_bare], lambda r: r.seconds)
    )
    report.note("one Swarm node on this machine, its storage where the tests have theirs; the same for both sides")
    report.note("the bare service has the same settings and storage, but no health check and no secret")
    report.target(
        "Swarm: order of a pool → first allocation / bare docker service create → first SQL", "<=", 1.3, single
    )
    report.target(f"Swarm: {many} pools at once / {many} bare services at once", "<=", 1.5, together)
    report.finish()


async def _allocated(caller: Client, api: Http) -> Round:
    """The pool is closed by that, so that the next one is used."""
    return await ordered_and_allocated(caller, api, ORDER, next(_numbers))


async def _all_active(caller: Client, api: Http, many: int) -> Round:
    begun = monotonic()
    load = Load(api.port, many, many, "POST", POOLS, ORDER, api.headers, keep_bodies=True)
    pools = [json.loads(body)["id"] for body in (await caller.run(load)).must_all_be(202).bodies]
    for pool in pools:
        await _until(caller, api, pool, "active")
    seconds = monotonic() - begun
    for pool in pools:
        await caller.run(Load(api.port, 1, 1, "POST", f"{POOLS}/{pool}/retire", "{}", api.headers))
    for pool in pools:
        await _until(caller, api, pool, "gone")
    return Round([seconds * 1000], seconds)


async def _until(caller: Client, api: Http, pool: str, status: str) -> None:
    look = Load(api.port, 1, 1, "GET", f"{POOLS}/{pool}", "", api.headers, keep_bodies=True)
    async with asyncio.timeout(PATIENCE_S):
        while json.loads((await caller.run(look)).must_all_be(200).bodies[0])["status"] != status:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)


async def _bare(machine: Machine, lab: Lab, many: int) -> Round:
    ports = [next(_ports) for _ in range(many)]
    homes = [_room(lab) for _ in ports]
    begun = monotonic()
    await asyncio.gather(
        *(asyncio.to_thread(_create, machine, port, home) for port, home in zip(ports, homes, strict=True))
    )
    await asyncio.gather(*(_until_login(machine.address, port) for port in ports))
    seconds = monotonic() - begun
    await asyncio.to_thread(machine.docker, "service", "rm", *(f"bare-{port}" for port in ports))
    for port in ports:
        await _until_ended(machine, f"bare-{port}")
    return Round([seconds * 1000], seconds)


def _room(lab: Lab) -> Path:
    home = Path(tempfile.mkdtemp(dir=lab.folder))
    home.chmod(0o755)
    return home


def _create(machine: Machine, port: int, home: Path) -> None:
    """As anybody would, with storage and a port as ours have them."""
    settings = postgres_settings(slots=SLOTS, memory_bytes=MEMORY, cpu=2)
    machine.docker(
        *("service", "create", "--detach", "--quiet", "--name", f"bare-{port}", "--no-healthcheck"),
        *("--endpoint-mode", "dnsrr", "--publish", f"mode=host,target=5432,published={port}"),
        *("--mount", f"type=bind,source={home},target=/var/lib/postgresql"),
        *("--env", f"POSTGRES_PASSWORD={PASSWORD}", "--limit-memory", str(MEMORY)),
        *(POSTGRES, "postgres", *(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))),
    )


async def _until_login(host: str, port: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                conn = await asyncpg.connect(
                    host=host, port=port, user="postgres", password=PASSWORD, database="postgres", timeout=1
                )
            except NOT_YET:
                await asyncio.sleep(POLL_S)
                continue
            return await conn.close()


async def _until_ended(machine: Machine, service: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await asyncio.to_thread(machine.containers, service):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)


def main() -> None:
    given = options(__doc__)
    if reason := why_not():
        raise SystemExit(reason)
    with running_lab() as lab, running() as system:
        lab.build(REPOSITORY / "infrastructure/images/postgres", POSTGRES, BASE=POSTGRES_BASE)
        uvloop.run(bench(system, given, lab))


if __name__ == "__main__":
    main()
