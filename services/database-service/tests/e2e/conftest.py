"""The whole system as a user starts it: `dbs up` in a process of its own, with a port and a DATA_DIR of its own."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from database_service.cli.client import Client
from database_service.domain.secret import Secret
from database_service.provisioners.runtime import STATE
from support.cluster import free_port
from support.folders import open_folder

READY = "Ctrl-C stops everything"
START_S = 120
STOP_S = 120
"""Against hanging. Measured: 5 s with both processors taken, once over 40 s on a machine that stood still."""
KILL_S = 10


@dataclass
class Stack:
    """One `dbs up`. `output` is what it has printed so far."""

    data: Path
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self.log.read_text()

    def client(self) -> Client:
        return Client(self.url, Secret((self.data / "admin.token").read_text().strip()))

    def until(self, said: str) -> None:
        """Return when it has printed this; an AssertionError shows what it printed instead."""
        self._until(lambda: said in self.output)

    def until_begun(self) -> None:
        """Return when it has taken its DATA_DIR: before, it is Python that starts, not `dbs up`."""
        self._until((self.data / "up.lock").exists)

    def _until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not true():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def home_of(self, server_id: str) -> Path:
        """The folder of one of its servers."""
        homes = (self.data / "pools", *homes_of(self.data))
        return next(home / server_id for home in homes if (home / server_id).exists())

    def postmaster(self, server_id: str) -> int:
        """The process of one of its servers."""
        return int((self.home_of(server_id) / "data" / "postmaster.pid").read_text().split()[0])

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and give the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_S)


Start = Callable[..., Stack]


def command(data: Path, port: int, pools: int = 1) -> list[str]:
    more = ["--pools", str(pools), "--port", str(port), "--data-dir", str(data)]
    return [sys.executable, "-m", "database_service", "up", *more]


def started(
    data: Path, port: int, folder: Path, pools: int = 1, *more: str, settings: Mapping[str, str] = MappingProxyType({})
) -> Stack:
    """One that the caller puts down again (`put_down`); `running` does. `settings` are put into its environment."""
    log = folder / f"up-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command(data, port, pools), *more],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **settings},
            start_new_session=True,
        )
    return Stack(data, port, process, log)


@contextmanager
def running(
    data: Path, port: int, folder: Path, pools: int = 1, *more: str, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Stack]:
    """A system that starts here and is gone afterwards, whatever happened to it."""
    stack = started(data, port, folder, pools, *more, settings=settings)
    try:
        yield stack
    finally:
        put_down(stack)


def put_down(stack: Stack) -> None:
    """Ctrl-C. What does not end then, or was left, is killed, and the test fails with what that was."""
    try:
        if stack.process.poll() is None:
            os.killpg(stack.process.pid, signal.SIGINT)
            stack.process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        pass  # told below: it is still there
    left = left_of(stack.data)
    kill_all_of(stack)
    assert left == [], f"left, and killed now: {left}\nafter\n{stack.output}"


def kill_all_of(stack: Stack) -> None:
    """End whatever has to do with it, and wait until nothing does. SIGQUIT lets PostgreSQL free its shared memory."""
    for number in (signal.SIGQUIT, signal.SIGKILL):
        deadline = time.monotonic() + KILL_S
        while (pids := processes_of(stack.data)) and time.monotonic() < deadline:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            stack.process.poll()  # reaps it: a zombie is in its group for ever
            time.sleep(0.1)
    stack.process.wait(KILL_S)


def left_of(data: Path) -> list[str]:
    """Command lines of processes that have to do with this DATA_DIR."""
    return list(processes_of(data).values())


def processes_of(data: Path) -> dict[int, str]:
    """Process ids and command lines of what has to do with this DATA_DIR, by argument, working directory or environment."""
    homes = [str(home) for home in homes_of(data)]
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes()
            told = (arguments + (process / "environ").read_bytes()).decode(errors="replace")
            where = str((process / "cwd").readlink())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if int(process.name) != os.getpid() and any(home in told or where.startswith(home) for home in homes):
            found[int(process.name)] = arguments.replace(b"\0", b" ").decode()
    return found


def homes_of(data: Path) -> list[Path]:
    """DATA_DIR, and where its rooms are instead where the servers' account cannot enter it (`reachable_home`)."""
    rooms = (data / room for room in ("control", "run", "pools", "instances"))
    return [data, *(STATE / hashlib.sha256(str(room).encode()).hexdigest()[:16] for room in rooms)]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start systems that a test is rough with; whatever it leaves is stopped."""
    with ExitStack() as stacks:

        def begin(data: Path | None = None, port: int | None = None, pools: int = 1, *more: str) -> Stack:
            return stacks.enter_context(running(data or folder / "data", port or free_port(), folder, pools, *more))

        yield begin


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A system that runs with a first database; shared, so leave it as you found it."""
    with open_folder() as folder, running(folder / "data", free_port(), folder) as begun:
        begun.until(READY)
        yield begun
