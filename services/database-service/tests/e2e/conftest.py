"""The whole system as a user starts it: `dbs up` in a process of its own, with a port and a DATA_DIR of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from database_service.cli.client import Client
from database_service.domain.secret import Secret
from support.cluster import free_port

READY = "Ctrl-C stops everything"
START_S = 120
STOP_S = 40


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
        deadline = time.monotonic() + START_S
        while said not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and give the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_S)


Start = Callable[..., Stack]


def command(data: Path, port: int, pools: int = 1) -> list[str]:
    more = ["--pools", str(pools), "--port", str(port), "--data-dir", str(data)]
    return [sys.executable, "-m", "database_service", "up", *more]


def started(data: Path, port: int, folder: Path, pools: int = 1) -> Stack:
    log = folder / f"up-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command(data, port, pools), stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    return Stack(data, port, process, log)


def left_of(data: Path) -> list[str]:
    """Command lines of processes that have to do with this DATA_DIR: by argument, working directory or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            where = str((process / "cwd").readlink())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if int(process.name) != os.getpid() and (str(data).encode() in told or where.startswith(str(data))):
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every account may enter, unlike pytest's own: as root, servers run as another account."""
    folder = Path(tempfile.mkdtemp(prefix="dbs-e2e-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start systems that a test is rough with; whatever it leaves is stopped."""
    stacks: list[Stack] = []

    def begin(data: Path | None = None, port: int | None = None, pools: int = 1) -> Stack:
        stacks.append(started(data or folder / "data", port or free_port(), folder, pools))
        return stacks[-1]

    yield begin
    for stack in stacks:
        if stack.process.poll() is None:
            stack.end()


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A system that runs with a first database; shared, so leave it as you found it."""
    with open_folder() as folder:
        running = started(folder / "data", free_port(), folder)
        try:
            running.until(READY)
            yield running
        finally:
            if running.process.poll() is None:
                running.end()
