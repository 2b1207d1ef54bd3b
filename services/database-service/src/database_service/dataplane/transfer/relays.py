"""Relays: a Unix socket that leads to one server by TLS, for PostgreSQL's programs, whose own build may speak none.

Who connects to it needs no TLS, and talks to the verified server all the same: a relay trusts whom `dataplane.trust` does. The
socket is in a folder of ours alone.
"""

import asyncio
import ssl
import tempfile
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from database_service.dataplane.trust import context_of, secured
from database_service.domain.tenancy import Admin

PORT = 5432
"""Of the socket's name. Nobody else is in its folder, so any would do."""
CONNECT_S = 10
LOST = (OSError, EOFError)
_CHUNK = 64 * 1024
_AUTHENTICATION, _ERROR = b"R", b"E"
_SASL = (10).to_bytes(4, "big")
_BOUND = b"SCRAM-SHA-256-PLUS\0"
"""The login that is bound to the TLS session it goes through: whoever has none refuses even the offer."""


@asynccontextmanager
async def reached(admin: Admin) -> AsyncIterator[Admin]:
    """The same server at an address that needs no TLS, for as long as this is open; itself where it speaks none."""
    context = context_of(admin)
    if context is None:
        yield admin
        return
    relay = _Relay(admin, context)
    with tempfile.TemporaryDirectory(prefix="dbs-relay-") as folder:
        server = await asyncio.start_unix_server(relay.serve, Path(folder) / f".s.PGSQL.{PORT}")
        try:
            yield replace(admin, host=folder, port=PORT, roots=None)
        finally:
            server.close()
            await relay.end()


@dataclass(slots=True)
class _Relay:
    """All connections through one socket."""

    admin: Admin
    context: ssl.SSLContext
    _open: set["asyncio.Task[Any]"] = field(default_factory=set)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Until either side has had enough. On a server that is not trusted it is hung up, and the program says so."""
        if task := asyncio.current_task():
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        with closing(writer), suppress(*LOST):
            async with asyncio.timeout(CONNECT_S):
                from_server, to_server = await secured(self.admin, self.context)
            with closing(to_server):
                await _until_one_ends(_pump(reader, to_server), _answers(from_server, writer))

    async def end(self) -> None:
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)


async def _until_one_ends(*ways: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _pump(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(*LOST):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()


async def _answers(reader: StreamReader, writer: StreamWriter) -> None:
    """What the server says; what it first offers for a login goes without what needs TLS."""
    kind = b""
    with suppress(*LOST):
        while kind not in (_AUTHENTICATION, _ERROR):
            kind = await reader.readexactly(1)
            length = int.from_bytes(await reader.readexactly(4), "big")
            body = _unbound(kind, await reader.readexactly(length - 4))
            writer.write(kind + (len(body) + 4).to_bytes(4, "big") + body)
    await _pump(reader, writer)


def _unbound(kind: bytes, body: bytes) -> bytes:
    offers = kind == _AUTHENTICATION and body.startswith(_SASL)
    return body.replace(_BOUND, b"") if offers else body
