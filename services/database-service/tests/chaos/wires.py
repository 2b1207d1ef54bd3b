"""Wires: every connection of the system goes through one of these, where it can be cut, slowed, half-closed or silenced."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

CHUNK = 65536
SLOW_S = 0.15
"""What each piece is held up for on a slow wire; a login to PostgreSQL takes five of them."""

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Mood(StrEnum):
    WELL = "well"
    CUT = "cut"
    SLOW = "slow"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Unix:
    path: Path

    async def listen(self, accept: Accept) -> asyncio.Server:
        self.path.unlink(missing_ok=True)
        return await asyncio.start_unix_server(accept, self.path)

    async def open(self) -> Ends:
        return await asyncio.open_unix_connection(self.path)


@dataclass(frozen=True, slots=True)
class Tcp:
    host: str
    port: int

    async def listen(self, accept: Accept) -> asyncio.Server:
        return await asyncio.start_server(accept, self.host, self.port)

    async def open(self) -> Ends:
        return await asyncio.open_connection(self.host, self.port, local_addr=("127.0.0.1", 0))


class Wire:
    """Carries what comes `here` to what is `there`, as well as its mood lets it."""

    def __init__(self, name: str, here: Unix | Tcp, there: Unix | Tcp) -> None:
        self.name = name
        self._here = here
        self._there = there
        self._server: asyncio.Server | None = None
        self._carried: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._mood = Mood.WELL
        self._speaks = asyncio.Event()
        self._speaks.set()

    async def plug(self) -> None:
        self._server = await self._here.listen(self._accept)

    async def unplug(self) -> None:
        """Nobody listens here any more; connections end at both ends."""
        if self._server:
            self._server.close()
            self._server = None
        await self.cut_off()

    async def cut_off(self) -> None:
        """Every connection there is ends, at both ends, at once."""
        carried = list(self._carried)
        for task in carried:
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)

    def half_close(self) -> None:
        """The far end of each connection is told that nothing more comes; the near end is told nothing."""
        for ends in self._carried.values():
            for writer in ends[1:]:
                with suppress(OSError, RuntimeError):
                    writer.write_eof()

    async def become(self, mood: Mood) -> None:
        self._mood = mood
        if mood is Mood.SILENT:
            self._speaks.clear()
        else:
            self._speaks.set()
        if mood is Mood.CUT:
            await self.cut_off()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carried[task] = [writer]
        try:
            await self._carry(reader, writer, self._carried[task])
        except (OSError, asyncio.CancelledError):
            pass  # who is there does not answer, or the wire was cut
        finally:
            for end in self._carried.pop(task):
                end.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: list[asyncio.StreamWriter]
    ) -> None:
        if self._mood is Mood.CUT:
            return
        far_reader, far_writer = await self._there.open()
        ends.append(far_writer)
        both = [asyncio.create_task(self._pump(*way)) for way in ((reader, far_writer), (far_reader, writer))]
        try:
            await asyncio.gather(*both)
        finally:
            for pump in both:
                pump.cancel()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Until its source has said all; OSError where an end was torn off, which ends both ways as it does without a wire."""
        with suppress(RuntimeError):  # it was half-closed
            while data := await source.read(CHUNK):
                await self._hold_up()
                sink.write(data)
                await sink.drain()
            sink.write_eof()

    async def _hold_up(self) -> None:
        if self._mood is Mood.SLOW:
            await asyncio.sleep(SLOW_S)
        await self._speaks.wait()
