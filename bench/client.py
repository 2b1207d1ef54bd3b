"""Client: raw HTTP/1.1 over keep-alive connections, in a process of its own, so that it costs the server nothing.

`Client` is the benchmark's side; `python -m bench.client` is the process. One JSON line in is one load, one JSON line out is
what became of it.
"""

import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

from bench.system import HOST, REPOSITORY, Http

LONGEST_LINE = 1 << 28
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Load:
    """`total` requests over `connections`, each connection sending its next one when it has its answer.

    `{i}` in path and body becomes `first`, `first + 1`, …
    """

    port: int
    connections: int
    total: int
    method: str = "GET"
    path: str = "/"
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    first: int = 0
    keep_bodies: bool = False
    apart_s: float = 0
    """From one connection's first request to the next one's."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`ms` from sending a request to having its whole answer; `at` is when, on the machine's monotonic clock.

    Lists are in the order of answers.
    """

    seconds: float
    cpu_share: float
    """Of one core that the client used; near 1 means that it was the client that was measured."""
    statuses: Mapping[str, int]
    ms: list[float]
    at: list[float]
    bodies: list[str]

    def must_all_be(self, status: int) -> "Outcome":
        """RuntimeError where any answer was another one: a benchmark of refusals says nothing."""
        if set(self.statuses) != {str(status)}:
            raise RuntimeError(f"expected only {status}, got {self.statuses}: {self.bodies[-1:]}")
        return self


class Client:
    """The benchmark's side of the client process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, load: Load) -> Outcome:
        """Send this load and wait for its outcome. One load at a time."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the client process has no pipes")
        self._process.stdin.write(json.dumps(asdict(load)).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the client process has ended")
        return Outcome(**json.loads(line))

    async def post(self, to: Http, path: str, body: str, *, connections: int, total: int, first: int) -> Outcome:
        """Distinct requests that all must answer 200."""
        load = Load(to.port, connections, total, "POST", path, body, to.headers, first)
        return (await self.run(load)).must_all_be(200)

    async def get(self, to: Http, path: str, *, connections: int, total: int, first: int = 0) -> Outcome:
        load = Load(to.port, connections, total, "GET", path, "", to.headers, first)
        return (await self.run(load)).must_all_be(200)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.client"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        limit=LONGEST_LINE,
    )
    try:
        yield Client(process)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


# -- the process ------------------------------------------------------------------------------------------------------


class _Run:
    """One load while it runs."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.requests = iter(_requests(load))
        self.ms: list[float] = []
        self.at: list[float] = []
        self.bodies: list[str] = []
        self.statuses: Counter[str] = Counter()
        self.open = load.connections
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(self, begun: float, head: bytes, body: bytes) -> None:
        now = time.monotonic()
        status = head[9:12].decode()
        self.ms.append((now - begun) * 1000)
        self.at.append(now)
        self.statuses[status] += 1
        if self.load.keep_bodies or status[0] in "45":
            self.bodies.append(body.decode())

    def one_less(self) -> None:
        self.open -= 1
        if self.open == 0 and not self.ended.done():
            self.ended.set_result(None)


class _Caller(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self._begun = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's are no subclasses

    def connection_lost(self, _exc: Exception | None) -> None:
        self._run.one_less()

    def send_next(self) -> None:
        request = next(self._run.requests, None)
        if self._transport is None or request is None:
            self.close()
            return
        self._begun = time.monotonic()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        length = _LENGTH.search(self._buffer, 0, end)
        whole = end + (int(length[1]) if length else 0)
        if len(self._buffer) < whole:
            return
        answer, self._buffer = self._buffer[:whole], self._buffer[whole:]
        self._run.answered(self._begun, answer[:end], answer[end:])
        self.send_next()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _requests(load: Load) -> list[bytes]:
    """All of them, rendered before the clock runs."""
    return [_request(load, str(load.first + n)) for n in range(load.total)]


def _request(load: Load, i: str) -> bytes:
    body = load.body.replace("{i}", i).encode()
    headers = {"Host": HOST, **load.headers}
    if body:
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{load.method} {load.path.replace('{i}', i)} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _carry_out(load: Load) -> Outcome:
    loop, run = asyncio.get_running_loop(), _Run(load)
    callers = [
        (await loop.create_connection(lambda: _Caller(run), HOST, load.port))[1] for _ in range(load.connections)
    ]
    begun, cpu = time.monotonic(), time.process_time()
    for ordinal, caller in enumerate(callers):
        loop.call_later(ordinal * load.apart_s, caller.send_next)
    await run.ended
    seconds = time.monotonic() - begun
    return Outcome(
        seconds=seconds,
        cpu_share=(time.process_time() - cpu) / seconds,
        statuses=dict(run.statuses),
        ms=run.ms,
        at=run.at,
        bodies=run.bodies,
    )


def _loads() -> Iterator[Load]:
    for line in sys.stdin:
        yield Load(**json.loads(line))


def main() -> None:
    for load in _loads():
        print(json.dumps(asdict(uvloop.run(_carry_out(load)))), flush=True)


if __name__ == "__main__":
    main()
