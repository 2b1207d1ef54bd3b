"""Flood: requests at a rate that does not ask whether the answers keep up, in a process of its own; `python -m bench.flood`.

Three kinds by turns: an allocation of a new instance, the status of an old one, its credentials. Each request is a few bytes
put together around its number; an answer is looked at no further than its status and its end. The clock of a request
runs from when it was due, so a generator that is late makes the figures worse and never better.
"""

import asyncio
import json
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

from bench.system import HOST, REPOSITORY

TICK_S = 0.002
LATE_S = 5.0
"""What is not answered so long after the last request counts as never answered."""
LONGEST_LINE = 1 << 28
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Flood:
    """`per_second` requests for `seconds`, over `connections`; 0 a second: each connection's next one when it has its answer."""

    port: int
    seconds: float
    connections: int
    per_second: float = 0
    first: int = 0
    """Instances that are allocated have numbers from here on."""
    known: int = 1
    """Instances that are asked about have numbers under this."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Washed:
    """What became of it. `at` and `ms` belong together, by status: when it was due, from the beginning on, and how long it took."""

    seconds: float
    cpu_share: float
    sent: int
    allocated: int
    at: Mapping[str, list[float]]
    ms: Mapping[str, list[float]]
    lost: Mapping[str, int]
    """`no_connection`: all were busy; `cut_off`: the connection ended; `unanswered`: nothing came."""


async def flood(wanted: Flood) -> Washed:
    """Have it sent by a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.flood"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        limit=LONGEST_LINE,
    )
    told, _ = await process.communicate(json.dumps(asdict(wanted)).encode())
    if process.returncode:
        raise RuntimeError("the flood's process has ended")
    return Washed(**json.loads(told))


# -- the process ------------------------------------------------------------------------------------------------------


class _Deck:
    """Every request's bytes, by its number."""

    def __init__(self, wanted: Flood) -> None:
        more = "".join(f"{name}: {value}\r\n" for name, value in {"Host": HOST, **wanted.headers}.items())
        body = '{"instance_id": "f-%08d", "customer_id": "c-1", "plan_tier": "free"}'
        head = f"POST /api/database/allocate HTTP/1.1\r\n{more}Content-Type: application/json\r\n"
        self._allocate = f"{head}Content-Length: {len(body % 0)}\r\n\r\n{body}".encode()
        self._status = f"GET /api/database/databases/f-%08d HTTP/1.1\r\n{more}\r\n".encode()
        self._credentials = f"GET /api/database/databases/f-%08d/credentials HTTP/1.1\r\n{more}\r\n".encode()
        self._known = wanted.known
        self.next_instance = wanted.first

    def request(self, number: int) -> bytes:
        match number % 3:
            case 0:
                self.next_instance += 1
                return self._allocate % (self.next_instance - 1)
            case 1:
                return self._status % (number % self._known)
            case _:
                return self._credentials % (number % self._known)


class _Run:
    """One flood while it runs."""

    def __init__(self, wanted: Flood) -> None:
        self.wanted = wanted
        self.deck = _Deck(wanted)
        self.idle: deque[_Line] = deque()
        self.at: dict[str, list[float]] = {}
        self.ms: dict[str, list[float]] = {}
        self.lost: Counter[str] = Counter()
        self.sent = self.open = 0
        self.began = time.monotonic()

    async def go(self) -> Washed:
        loop = asyncio.get_running_loop()
        for _ in range(self.wanted.connections):
            await loop.create_connection(lambda: _Line(self), HOST, self.wanted.port)
        cpu = time.process_time()
        self.began = time.monotonic()
        await (self._keep_a_rate() if self.wanted.per_second else self._keep_busy())
        seconds = time.monotonic() - self.began
        share = (time.process_time() - cpu) / seconds
        await self._last_answers()
        return Washed(
            seconds, share, self.sent, self.deck.next_instance - self.wanted.first, self.at, self.ms, dict(self.lost)
        )

    async def _keep_a_rate(self) -> None:
        number, all_of_them = 0, int(self.wanted.per_second * self.wanted.seconds)
        while number < all_of_them:
            now = time.monotonic()
            due = min(all_of_them, int((now - self.began) * self.wanted.per_second))
            while number < due:
                self._send(number, self.began + number / self.wanted.per_second)
                number += 1
            await asyncio.sleep(TICK_S)

    def _send(self, number: int, due: float) -> None:
        if not self.idle:
            self.lost["no_connection"] += 1
            return
        self.sent += 1
        self.open += 1
        self.idle.popleft().send(self.deck.request(number), due)

    async def _keep_busy(self) -> None:
        """Whoever has its answer sends the next request."""
        number, ends = 0, self.began + self.wanted.seconds
        while (now := time.monotonic()) < ends:
            while self.idle:
                self._send(number, now)
                number += 1
            await asyncio.sleep(0)

    async def _last_answers(self) -> None:
        ends = time.monotonic() + LATE_S
        while self.open and time.monotonic() < ends:  # noqa: ASYNC110  nothing is measured any more
            await asyncio.sleep(TICK_S)
        self.lost["unanswered"] += self.open

    def answered(self, line: "_Line", status: str, due: float) -> None:
        self.open -= 1
        self.at.setdefault(status, []).append(round(due - self.began, 4))
        self.ms.setdefault(status, []).append(round((time.monotonic() - due) * 1000, 3))
        self.idle.append(line)


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self._due: float | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._run.idle.append(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._due is not None:
            self._run.open -= 1
            self._run.lost["cut_off"] += 1
        elif self in self._run.idle:
            self._run.idle.remove(self)

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        if self._transport is not None:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n") + 4
        length = _LENGTH.search(self._buffer, 0, end) if end >= 4 else None
        if length is None or len(self._buffer) < end + int(length[1]) or self._due is None:
            return
        status, due = self._buffer[9:12].decode(), self._due
        self._buffer, self._due = b"", None
        self._run.answered(self, status, due)


def main() -> None:
    print(json.dumps(asdict(uvloop.run(_Run(Flood(**json.load(sys.stdin))).go()))))


if __name__ == "__main__":
    main()
