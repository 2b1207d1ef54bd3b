"""The system under test: what `dbs up` starts, as it starts it, with a second worker, and a wire in each connection."""

import asyncio
import os
import shutil
import signal
import subprocess
import xmlrpc.client
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from uuid import UUID

import redis
from rich.console import Console
from supervisor.xmlrpc import SupervisorTransport

from chaos import programs
from chaos.schedule import CLOCKS
from chaos.wires import Tcp, Unix, Wire
from database_service.cli.embedded import Embedded
from database_service.cli.home import Home
from database_service.cli.steps import Steps
from database_service.cli.supervision import Program
from database_service.domain.ids import ServerId
from database_service.provisioners.place import Place
from database_service.provisioners.postmaster import Postmaster
from database_service.provisioners.runtime import PostgresRuntime
from database_service.settings import Settings

SECOND = "worker-2"
SERVED = ("api", "worker", SECOND, "beat")
CONNECTED: Mapping[str, tuple[str, ...]] = {
    "api": ("postgres", "valkey"),
    "worker": ("postgres", "valkey"),
    SECOND: ("postgres", "valkey"),
    "beat": ("valkey",),
}
SOCKETS: Mapping[str, str] = {"postgres": ".s.PGSQL.5432", "valkey": "valkey.sock"}
DISK_BYTES = 8 * 1024**3
"""For all pools of half an hour; they take no more memory than they hold."""
FILL_TRIES = 50
POOLS_SEEN_EVERY_S = 0.1
GONE = (ProcessLookupError, FileNotFoundError)


@dataclass(frozen=True, slots=True)
class Stage:
    """How large it is; `bug` is one of `chaos.bugs`, planted into API and workers."""

    pools: int = 3
    slots: int = 20
    most_pools: int = 10
    bug: str | None = None


def settings_of(data: Path, port: int, stage: Stage, programs_dir: Path) -> Settings:
    """Impatient wherever patience would only make a run longer."""
    return Settings(
        data_dir=data, api_port=port, postgres_bin_dir=programs_dir,
        lease_s=35, effect_timeout_s=14, allocate_budget_s=2, retry_after_s=1,
        sweep_interval_s=1, refill_interval_s=4, health_interval_s=4, enforce_interval_s=5, register_interval_s=5,
        backoff_most_s=5, error_recheck_s=5, server_start_timeout_s=90, move_seat_timeout_s=60,
        db_pool_max_instances=stage.slots, db_pool_memory_limit=128 * 1024**2, db_pool_cpu_limit=1,
        pools_least=stage.pools, pools_most=stage.most_pools, spares_least=2, spares_most=4, worker_threads=4,
    )  # fmt: skip


class Wired(Embedded):
    """The embedded system whose programs are told of sockets of ours; see `System` for what lies behind them."""

    told: Mapping[str, Mapping[str, str]]

    def _programs(self) -> list[Program]:
        usual = {program.name: program for program in super()._programs()}
        usual[SECOND] = replace(usual["worker"], name=SECOND)
        return [replace(program, environment=self.told.get(name, {})) for name, program in usual.items()]

    @property
    def _names_of_instances(self) -> list[str]:
        return [SECOND]


@dataclass(frozen=True, slots=True)
class Pool:
    """A server of this machine that runs: its postmaster, and its port, the same here and there."""

    id: ServerId
    pid: int
    port: int


@dataclass(slots=True)
class System:
    """Running. `api_port` is where its clients find it: a wire."""

    embedded: Wired
    api_port: int
    clocks: Path
    pools_dir: Path
    wires: dict[str, Wire] = field(default_factory=dict)
    pool_wires: dict[ServerId, Wire] = field(default_factory=dict)
    disk: Path | None = None
    """Where the pools' disk is mounted, if it could be."""

    @property
    def home(self) -> Home:
        return self.embedded.home

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}/api/database"

    @property
    def token(self) -> str:
        return self.home.admin_token.read_text().strip()

    @property
    def control_dsn(self) -> str:
        """Past the wires."""
        return self.embedded.settings.database_dsn()

    # -- processes ----------------------------------------------------------------------------------------------------

    def pid(self, name: str) -> int | None:
        """The process of one program; None while there is none."""
        try:
            told = self._supervisord().getProcessInfo(name)
        except (OSError, HTTPException, xmlrpc.client.Error):
            return None
        return int(told["pid"]) or None  # type: ignore[call-overload]

    def given_up(self) -> list[str]:
        """Programs that supervisord does not start any more."""
        states = self._supervisord().getAllProcessInfo()
        return [str(told["name"]) for told in states if told["statename"] == "FATAL"]  # type: ignore[call-overload,union-attr]

    def start_again(self, name: str) -> None:
        self.embedded.supervisor.begin(name)

    def _supervisord(self) -> xmlrpc.client.ServerProxy:
        transport = SupervisorTransport(None, None, f"unix://{self.embedded.supervisor.socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor  # type: ignore[return-value]

    def pools(self) -> list[Pool]:
        """Those that listen now."""
        return [pool for place in self.places() if (pool := self._running(place))]

    def places(self) -> list[Place]:
        try:
            names = sorted(path.name for path in self.pools_dir.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return []
        return [Place(self.pools_dir, server_id) for name in names if (server_id := _server_id(name))]

    def _running(self, place: Place) -> Pool | None:
        try:
            found = Postmaster.at(self.embedded.runtime, place.directory).look()
        except OSError:
            return None  # it is just being removed
        return Pool(place.id, found.pid, found.port) if found and found.port and found.settled else None

    # -- clocks, disk, broker -----------------------------------------------------------------------------------------

    def turn_clock(self, name: str, seconds: int) -> None:
        """Of one process, from now on and also when it is started again."""
        (self.clocks / name).write_text(f"{seconds:+d}\n")

    def fill_disk(self) -> bool:
        """The pools' disk gets as small as what lies on it; False where more was written each time it was tried."""
        for _ in range(FILL_TRIES):
            used = os.statvfs(self.disk or "/")
            if self._resized((used.f_blocks - used.f_bfree) * used.f_frsize):
                return True
        return False

    def empty_disk(self) -> None:
        if not self._resized(DISK_BYTES):
            raise OSError("the pools' disk cannot be made large again")

    def _resized(self, size: int) -> bool:
        """False where more than that lies on it."""
        remount = ["mount", "-o", f"remount,size={size}", str(self.disk)]
        return subprocess.run(remount, check=False, capture_output=True).returncode == 0

    def flush_broker(self) -> None:
        with self.broker() as broker:
            broker.flushall()

    def broker(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.home.broker_socket), socket_timeout=1)

    # -- afterwards ---------------------------------------------------------------------------------------------------

    def keep(self, folder: Path) -> None:
        """What somebody who asks why would want to read: the logs of programs and pools, and the control database as it is."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.home.logs, folder / "logs", dirs_exist_ok=True)
        for place in self.places():
            shutil.copytree(place.directory / "log", folder / "pools" / str(place.id), dirs_exist_ok=True)
        dump = [self.embedded.runtime.bin_dir / "pg_dump", "-f", folder / "control.sql", self.control_dsn]
        subprocess.run(dump, check=True)

    # -- wires --------------------------------------------------------------------------------------------------------

    async def wire_pools(self) -> None:
        """For ever: a wire for each pool that listens, and none for one that does not, whose port may then be used anew."""
        while True:
            running = {pool.id: pool for pool in self.pools()}
            for server_id in self.pool_wires.keys() - running.keys():
                await self.pool_wires.pop(server_id).unplug()
            for server_id in running.keys() - self.pool_wires.keys():
                await self._wire(running[server_id])
            await asyncio.sleep(POOLS_SEEN_EVERY_S)

    async def unwire_pools(self) -> None:
        for wire in self.pool_wires.values():
            await wire.unplug()

    async def _wire(self, pool: Pool) -> None:
        wire = Wire(f"pool {pool.id}", Tcp("127.0.0.1", pool.port), Tcp(programs.FAR_HOST, pool.port))
        with suppress(OSError):  # its port is looked at by a server that seeks one; at the next round
            await wire.plug()
            self.pool_wires[pool.id] = wire


def _server_id(name: str) -> ServerId | None:
    try:
        return ServerId(UUID(name))
    except ValueError:
        return None


def tree(pid: int) -> list[int]:
    """A process and all that came of it, itself first."""
    found, children = [pid], _children()
    for parent in found:
        found.extend(children.get(parent, ()))
    return found


def _children() -> Mapping[int, list[int]]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(*GONE):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    return children


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


# -- start and stop ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def running(folder: Path, stage: Stage, ports: tuple[int, int]) -> AsyncIterator[System]:
    """A system below `folder`, which every account may enter. `ports`: the API's own, and that of its clients' wire."""
    data, api_port = folder / "data", ports[0]
    data.mkdir()
    runtime = PostgresRuntime.find()
    bin_dir = await asyncio.to_thread(programs.beside, runtime, folder / "programs")
    runtime = replace(runtime, bin_dir=bin_dir)
    home = Home.make(data, runtime)
    embedded = Wired.at(home, runtime, settings_of(data, api_port, stage, bin_dir))
    async with AsyncExitStack() as stack:
        disk = stack.enter_context(_small_disk(data / "pools"))
        pools_dir = runtime.reachable_home(data / "pools")
        system = System(embedded, ports[1], _made(folder / "clocks"), pools_dir, disk=disk)
        for name in CONNECTED:
            (folder / "wires" / name).mkdir(parents=True)
        await _lay_wires(stack, system, folder / "wires", api_port)
        embedded.told = {name: _told(system, folder / "wires" / name, name, stage) for name in SERVED}
        stack.push_async_callback(asyncio.to_thread, embedded.stop)
        await asyncio.to_thread(embedded.start, Steps(Console(quiet=True)))
        await asyncio.to_thread(embedded.supervisor.begin, SECOND)
        stack.push_async_callback(system.unwire_pools)
        watch = asyncio.create_task(system.wire_pools())
        stack.push_async_callback(_ended, watch)
        yield system


async def _lay_wires(stack: AsyncExitStack, system: System, folder: Path, api_port: int) -> None:
    there = {"postgres": system.home.postgres_socket / SOCKETS["postgres"], "valkey": system.home.broker_socket}
    lines = [Wire("clients-api", Tcp("127.0.0.1", system.api_port), Tcp("127.0.0.1", api_port))]
    for name, whither in CONNECTED.items():
        lines += [Wire(f"{name}-{to}", Unix(folder / name / SOCKETS[to]), Unix(there[to])) for to in whither]
    for wire in lines:
        await wire.plug()
        system.wires[wire.name] = wire
        stack.push_async_callback(wire.unplug)


def _told(system: System, wires: Path, name: str, stage: Stage) -> Mapping[str, str]:
    """What one program is told beside what all are told."""
    broker = wires / "broker-url"
    broker.write_text(f"redis+socket://{wires / SOCKETS['valkey']}\n")
    told = {
        "POSTGRES_HOST": str(wires),
        "CELERY_BROKER_URL_FILE": str(broker),
        "PYTHONPATH": str(Path(__file__).parent / "bugs"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if stage.bug:
        told["CHAOS_BUG"] = stage.bug
    if name in CLOCKS:
        system.turn_clock(name, 0)
        told["CHAOS_CLOCK"] = str(system.clocks / name)
    return told


@contextmanager
def _small_disk(where: Path) -> Iterator[Path | None]:
    """A disk of the pools' own, where we may mount one."""
    where.mkdir(mode=0o755)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "none", where], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        yield None
        return
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
