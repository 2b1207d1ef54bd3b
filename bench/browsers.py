"""Browsers: pages of the hub that are open, in a process of their own: each holds the stream and asks for its parts as htmx does.

`python -m bench.browsers` is the process: one JSON line in opens them, the next ends them, one JSON line out is what they did.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field

import uvloop

from bench.system import HOST, REPOSITORY
from database_service.ui.parts import TOLD

LIVE = "/admin/live"
DELAY_S = 0.2
"""As `hx-trigger="fleet from:body delay:200ms"` says."""


@dataclass(frozen=True, slots=True)
class Open:
    """These pages, by turns; each is the parts that it asks for when it is told of a change."""

    port: int
    number: int
    pages: Sequence[Sequence[str]]
    headers: Mapping[str, str]


@dataclass(slots=True)
class Watched:
    """What they saw until they were closed. `told` are events of streams; `megabytes` are of parts."""

    seconds: float = 0
    cpu_share: float = 0
    told: int = 0
    parts: int = 0
    megabytes: float = 0
    statuses: dict[str, int] = field(default_factory=dict)
    ended: int = 0
    """Streams that the server ended."""


@asynccontextmanager
async def browsers(opened: Open, seen: Watched) -> AsyncIterator[None]:
    """They are open inside, all of them told how the fleet is; `seen` is filled in at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.browsers"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the browsers have no pipes")
    try:
        process.stdin.write(json.dumps(asdict(opened)).encode() + b"\n")
        await process.stdout.readline()
        yield
        process.stdin.write(b"\n")
        for name, value in json.loads(await process.stdout.readline()).items():
            setattr(seen, name, value)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


# -- the process ------------------------------------------------------------------------------------------------------


class _Browser:
    def __init__(self, opened: Open, parts: Sequence[str], seen: Watched) -> None:
        self._opened = opened
        self._parts = [_Part(opened, path, seen) for path in parts]
        self._seen = seen
        self.told = asyncio.Event()

    async def run(self) -> None:
        """The first event is how it is when the page was loaded: the page's script asks for the parts then as well."""
        reader, writer = await asyncio.open_connection(HOST, self._opened.port)
        try:
            writer.write(_request(self._opened, LIVE))
            while line := await reader.readline():
                if line.startswith(b"event: fleet"):
                    told = (await reader.readline()).removeprefix(b"data: ").strip().decode()
                    self._seen.told += 1
                    self.told.set()
                    for part in self._parts:
                        part.changed(told)
            self._seen.ended += 1
        finally:
            writer.close()

    async def close(self) -> None:
        for part in self._parts:
            await part.close()


class _Part:
    """One element: waits 200 ms after the last event, and has one request under way at most, and the last one after it."""

    def __init__(self, opened: Open, path: str, seen: Watched) -> None:
        self._opened, self._path, self._seen = opened, path, seen
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        self._again = False
        self._told = ""
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def changed(self, told: str) -> None:
        self._told = told
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(DELAY_S, self._ask)

    def _ask(self) -> None:
        self._again = self._asking is not None and not self._asking.done()
        if not self._again:
            self._asking = asyncio.create_task(self._asked())

    async def _asked(self) -> None:
        await self._fetch()
        while self._again:
            self._again = False
            await self._fetch()

    async def _fetch(self) -> None:
        reader, writer = await self._connected()
        writer.write(_request(self._opened, self._path, {TOLD: self._told}))
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:  # it was idle for too long, and closed as the request was on its way
            writer.close()
            self._connection = None
            await self._fetch()
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        self._seen.parts += 1
        self._seen.megabytes += length / 1e6
        status = head[9:12].decode()
        self._seen.statuses[status] = self._seen.statuses.get(status, 0) + 1

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The one that is open, or a new one, as a browser does it: the server closes those that nobody used for 5 seconds."""
        if self._connection is None or self._connection[0].at_eof():
            if self._connection is not None:
                self._connection[1].close()
            self._connection = await asyncio.open_connection(HOST, self._opened.port)
        return self._connection

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        if self._connection is not None:
            self._connection[1].close()


def _request(opened: Open, path: str, more: Mapping[str, str] | None = None) -> bytes:
    headers = {"Host": HOST, "HX-Request": "true", **opened.headers, **(more or {})}
    return "\r\n".join([f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "", ""]).encode()


async def _watch(opened: Open) -> None:
    seen = Watched()
    every = [_Browser(opened, opened.pages[n % len(opened.pages)], seen) for n in range(opened.number)]
    running = [asyncio.create_task(each.run()) for each in every]
    for each in every:
        await each.told.wait()
    print("open", flush=True)
    began, cpu = time.monotonic(), time.process_time()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    seen.seconds = time.monotonic() - began
    seen.cpu_share = (time.process_time() - cpu) / seen.seconds
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    for each in every:
        await each.close()
    print(json.dumps(asdict(seen)), flush=True)


if __name__ == "__main__":
    uvloop.run(_watch(Open(**json.loads(sys.stdin.readline()))))
