"""Instances beside the databases: `instances`, a consumer like any other, run by `dbs up` under the same supervisord.

Nothing of it is imported: it is a program beside ours, which is told where things are by its environment.
"""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from database_service.auth.tokens import new_token
from database_service.cli.exits import CommandFailed
from database_service.cli.home import Home
from database_service.cli.supervision import Program
from database_service.files import write_whole
from database_service.provisioners.runtime import PostgresRuntime
from database_service.settings import Settings

PROGRAM = "instances"
PREFIX = "/api/instances"
PROCESSES = ("api", "worker", "beat")
BROKER_DATABASE = 1
"""Its nudges beside ours, on the same broker."""
HALT_S = 60


@dataclass(frozen=True, slots=True)
class Instances:
    """instance-service in one DATA_DIR. `folder` is where its workloads are: their accounts can enter it."""

    home: Home
    settings: Settings
    port: int
    folder: Path

    @classmethod
    def make(cls, home: Home, settings: Settings, runtime: PostgresRuntime, port: int) -> "Instances":
        """Make what is missing. CommandFailed where its program is not installed."""
        made = cls(home, settings, port, runtime.reachable_home(home.data / PROGRAM))
        if not made.program.exists():
            raise CommandFailed(f"The program {PROGRAM} is not installed beside {sys.executable}.")
        if not made.token_file.exists():
            write_whole(made.token_file, new_token().reveal() + "\n")
        broker = f"redis+socket://{home.broker_socket}?virtual_host={BROKER_DATABASE}"
        write_whole(made._broker_url_file, broker + "\n")
        return made

    @property
    def program(self) -> Path:
        return _program()

    @property
    def token_file(self) -> Path:
        """What its own callers show."""
        return _token_file(self.home)

    @property
    def url(self) -> str:
        return self.settings.database_service_url.rpartition(":")[0] + f":{self.port}"

    @property
    def names(self) -> list[str]:
        return [program.name for program in self.programs()]

    def programs(self) -> list[Program]:
        environment = self._environment()
        return [
            Program(f"instances-{process}", [str(self.program), "serve", process], environment=environment)
            for process in PROCESSES
        ]

    def answers(self) -> bool:
        """Whether it can serve, which includes that it has a database of its own."""
        try:
            return httpx.get(f"{self.url}{PREFIX}/health/ready", timeout=2).is_success
        except httpx.TransportError:
            return False

    @property
    def _broker_url_file(self) -> Path:
        return self.home.secrets / "instances-broker-url"

    def _environment(self) -> Mapping[str, str]:
        """Secrets only as the names of their files."""
        return {
            "DATABASE_SERVICE_URL": self.settings.database_service_url,
            "DATABASE_SERVICE_TOKEN_FILE": str(self.home.consumer_token),
            "INSTANCES_API_HOST": self.settings.api_host,
            "INSTANCES_API_PORT": str(self.port),
            "INSTANCES_URL": self.url,
            "INSTANCES_TOKEN_FILE": str(self.token_file),
            "INSTANCES_BROKER_URL_FILE": str(self._broker_url_file),
            "INSTANCES_DATA_DIR": str(self.folder),
            "INSTANCES_WORKLOADS": "process",
            "INSTANCES_LOG_LEVEL": self.settings.log_level,
            "INSTANCES_LOG_FORMAT": self.settings.log_format,
        }


def halt_workloads(home: Home, runtime: PostgresRuntime) -> None:
    """End every workload below this DATA_DIR, whoever began it; each begins again when instances are served again.

    CommandFailed says what did not end.
    """
    if not (_token_file(home).exists() and _program().exists()):
        return  # instances were never served here
    folder = runtime.reachable_home(home.data / PROGRAM)
    try:
        done = subprocess.run(  # noqa: S603  a program of this environment, fixed words
            [_program(), "halt"],
            env={"INSTANCES_DATA_DIR": str(folder)},
            check=False,
            capture_output=True,
            text=True,
            timeout=HALT_S,
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"Workloads were not ended within {HALT_S} s.") from None
    if done.returncode != 0:
        raise CommandFailed(f"Workloads were not ended: {(done.stderr or done.stdout).strip()[-300:]}")


def _program() -> Path:
    return Path(sys.executable).parent / PROGRAM


def _token_file(home: Home) -> Path:
    return home.data / "instances.token"
