"""Connections whose request never has a whole head."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from database_service.api import heads

LINE = b"GET / HTTP/1.1\r\nHost: here\r\n"
BODY = b"x" * (4 * heads.HEAD_BYTES)


async def _length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server with little patience."""
    monkeypatch.setattr(heads, "HEAD_S", 0.3)
    app = Starlette(routes=[Route("/", _length, methods=["GET", "POST"])])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, http=heads.ImpatientProtocol, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve([listening]))
        yield listening.getsockname()[1]
        server.should_exit = True
        await serving


async def _hung_up_after(port: int, first: bytes, again: bytes) -> float:
    """Seconds until the other side hung up on somebody who sends `again` now and then."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def trickle() -> None:
        writer.write(first)
        while True:
            await asyncio.sleep(0.05)
            writer.write(again)

    trickling = asyncio.create_task(trickle())
    try:
        async with asyncio.timeout(10):
            assert await reader.read() == b""
    except ConnectionResetError:
        pass
    finally:
        trickling.cancel()
        writer.close()
    return time.monotonic() - began


@pytest.mark.parametrize(("first", "again"), [(b"", b""), (LINE, b"a"), (b"G", b"")], ids=["silent", "slow", "a byte"])
async def test_a_head_that_does_not_come_is_not_waited_for(port: int, first: bytes, again: bytes) -> None:
    assert await _hung_up_after(port, first, again) >= 0.3


async def test_a_head_that_never_ends_is_not_taken_in(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "HEAD_S", 3600.0)
    assert await _hung_up_after(port, LINE, b"a: " + b"b" * 8000 + b"\r\n") < 10


async def test_bodies_and_further_requests_have_all_the_time_they_had(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY[:-1])
        await asyncio.sleep(0.5)  # longer than the head may take: only then would a timer that was left have gone off
        writer.write(BODY[-1:])
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(len(str(len(BODY)))) == str(len(BODY)).encode()
    writer.close()
