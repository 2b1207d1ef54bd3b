"""RabbitMQ: a real one of the tests' own, run by an unprivileged account, with ports, a name and an epmd of its own."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kombu import Connection, pools

from database_service.broker.celery import ROUTES
from database_service.broker.courier import BROKER_AWAY
from database_service.provisioners.runtime import Account
from support.cluster import free_port
from support.folders import open_folder
from support.machines import until
from support.needs import without

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""Debian's own; what it has on the PATH insists on an account of its own."""
START_S = 60
END_S = 20
CONFIG = "advanced.config"
COUNTS_OFTEN = "[{rabbit, [{quorum_tick_interval, 200}]}].\n"
"""Else what it tells of a queue is up to five seconds old."""
LISTED = ("list_queues", "--silent", "--formatter", "json", "name", "type", "messages_ready", "messages_unacknowledged")


@dataclass(frozen=True, slots=True)
class Held:
    """A queue: `waiting` messages and those `given` to somebody who has not confirmed them."""

    kind: str
    waiting: int
    given: int


@dataclass(slots=True)
class RabbitMQ:
    """It keeps what it holds in `folder`, also when it is killed: `start` brings it back."""

    folder: Path
    account: Account
    port: int = field(default_factory=free_port)
    _names_port: int = field(default_factory=free_port)
    _nodes_port: int = field(default_factory=free_port)
    _server: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _names: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    # -- its life -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Its directory of names, which would else be started behind our back and stay, and then itself."""
        self.account.owns(self.folder)
        (self.folder / CONFIG).write_text(COUNTS_OFTEN)
        self._names = self._spawned("epmd", "-address", "127.0.0.1", "-port", str(self._names_port))
        self.start()

    def start(self) -> None:
        self._server = self._spawned(str(PROGRAMS / "rabbitmq-server"))
        until(self._answers, START_S, "RabbitMQ does not start", self._log)

    def freeze(self) -> None:
        """It still takes connections, and never answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """As a power cut would."""
        if self._server:
            self._signal(signal.SIGKILL)
            self._server.wait(END_S)
            self._server = None

    def _signal(self, number: signal.Signals) -> None:
        """To the shell that was started, and to the server it has started."""
        assert self._server, "it does not run"
        os.killpg(self._server.pid, number)

    def mend(self) -> None:
        """It runs and answers, whatever a test did to it, and has no queue."""
        if self._server is None:
            self.start()
        self.thaw()
        until(self._answers, START_S, "RabbitMQ does not answer", self._log)
        pools.reset()  # what an earlier test has connected believes that its queues are there
        with Connection(self.url) as connection:
            for queue in set(ROUTES.values()):
                connection.default_channel.queue_delete(queue)

    def end(self) -> None:
        self.kill()
        if self._names:
            self._names.kill()
            self._names.wait(END_S)

    # -- what it holds ------------------------------------------------------------------------------------------------

    def queues(self) -> dict[str, Held]:
        """As it tells itself; that takes it about a second."""
        asked = subprocess.run(
            [PROGRAMS / "rabbitmqctl", *LISTED], check=True, stdout=subprocess.PIPE, **self._as_account
        )
        return {
            told["name"]: Held(told["type"], told["messages_ready"], told["messages_unacknowledged"])
            for told in json.loads(asked.stdout)
        }

    def tasks(self, queue: str) -> list[str]:
        """Names of the tasks whose messages wait there; they are taken."""
        names = []
        with Connection(self.url) as connection:
            while message := connection.default_channel.basic_get(queue, no_ack=True):
                names.append(message.headers["task"])
        return names

    # -- how it is run ------------------------------------------------------------------------------------------------

    @property
    def _log(self) -> Path:
        return self.folder / "out.log"

    def _answers(self) -> bool:
        try:
            with Connection(self.url, connect_timeout=1) as connection:
                connection.connect()
        except BROKER_AWAY:
            return False
        return True

    def _spawned(self, *command: str) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as output:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, **self._as_account
            )  # fmt: skip

    @property
    def _as_account(self) -> dict[str, Any]:
        return {"env": self._environment(), "cwd": self.folder, **self.account.popen_arguments()}

    def _environment(self) -> dict[str, str]:
        """All its places are in its folder, its cookie too (HOME)."""
        home = str(self.folder)
        return {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"{self.folder.name}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._nodes_port),
            "RABBITMQ_MNESIA_BASE": f"{home}/data",
            "RABBITMQ_LOG_BASE": f"{home}/log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": f"{home}/environment",
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{home}/{CONFIG}",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/plugins",
        }


@contextmanager
def running_rabbitmq() -> Iterator[RabbitMQ]:
    """One that answers, in about six seconds; gone afterwards. Where it is not installed the test goes no further."""
    if not (PROGRAMS / "rabbitmq-server").exists() or shutil.which("epmd") is None:
        without("no RabbitMQ: not installed: rabbitmq-server")
    with open_folder("dbs-rabbit-") as folder:
        broker = RabbitMQ(folder, Account.choose())
        try:
            broker.begin()
            yield broker
        finally:
            broker.end()
