"""Who finds the gate crowded is refused in the server's protocol: no task, no application, and the connection goes on."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from database_service.admission.bounds import Bounds
from database_service.admission.gate import Gate
from database_service.api.turning_away import NEVER_REFUSED, STATE, TurningAway, Turnstile

GET = b"GET /databases HTTP/1.1\r\nHost: here\r\nX-Request-ID: mine\r\n\r\n"


@dataclass
class Served:
    """A server whose application answers everything, one that asks for `/slow` once `go_on` is set."""

    port: int
    gate: Gate
    seen: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: Request) -> PlainTextResponse:
        self.seen.append(request.url.path)
        if request.url.path == "/slow":
            await self.go_on.wait()
        return PlainTextResponse("served")


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        served = Served(listening.getsockname()[1], Gate(Bounds(at_once=1, hurried_at_once=1, queue=0)))

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[dict[str, TurningAway]]:
            yield {STATE: TurningAway(served.gate)}

        app = Starlette(routes=[Route("/{path:path}", served.answer, methods=["GET", "POST"])], lifespan=lifespan)
        server = uvicorn.Server(uvicorn.Config(app, http=Turnstile, log_config=None))
        serving = asyncio.create_task(server.serve([listening]))
        yield served
        server.should_exit = True
        await serving


@dataclass
class Caller:
    """One connection. What is not there within some seconds does not come."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> tuple[bytes, bytes, bytes]:
        """Status, headers, body of the next one."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head[9:12], head, await self.reader.readexactly(length)

    async def says(self, request: bytes) -> bytes:
        """The status of the answer to this."""
        self.writer.write(request)
        status, _, _ = await self.answer()
        return status


@pytest.fixture
async def caller(served: Served) -> AsyncIterator[Caller]:
    caller = Caller(*await asyncio.open_connection("127.0.0.1", served.port))
    yield caller
    caller.writer.close()


async def test_the_refusal_says_what_the_middleware_says_and_the_application_is_not_asked(
    served: Served, caller: Caller
) -> None:
    with await served.gate.enter():
        caller.writer.write(GET)
        status, head, body = await caller.answer()
    assert status == b"503"
    assert b"\r\nretry-after: 1\r\n" in head
    assert b"\r\nx-request-id: mine\r\n" in head
    assert b"\r\ncontent-type: application/problem+json\r\n" in head
    assert b'"code":"overloaded"' in body
    assert b'"instance":"/databases"' in body
    assert b'"request_id":"mine"' in body
    assert served.seen == []


async def test_a_body_that_comes_later_is_passed_over_and_the_next_request_is_served(
    served: Served, caller: Caller
) -> None:
    with await served.gate.enter():
        assert await caller.says(b"POST /a HTTP/1.1\r\nHost: here\r\nContent-Length: 6\r\n\r\nhalf") == b"503"
    assert await caller.says(b"ed" + GET) == b"200"
    assert served.seen == ["/databases"]


async def test_requests_in_one_packet_are_all_answered_in_their_order(served: Served, caller: Caller) -> None:
    with await served.gate.enter():
        caller.writer.write(b"".join(GET.replace(b"mine", b"n%d" % number) for number in range(3)))
        answers = [await caller.answer() for _ in range(3)]
    assert [b"x-request-id: n%d\r\n" % number in head for number, (_, head, _) in enumerate(answers)] == [True] * 3
    assert [status for status, _, _ in answers] == [b"503"] * 3


@pytest.mark.parametrize(
    "request_",
    [
        GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        GET.replace(b"1.1", b"1.0"),
        b"HEAD" + GET.removeprefix(b"GET"),
        b"POST /a HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx",
        *(GET.replace(b"/databases", path.encode()) for path in sorted(NEVER_REFUSED)),
    ],
    ids=["its last", "old", "head", "expects", *sorted(NEVER_REFUSED)],
)
async def test_all_others_go_on_to_the_application(served: Served, caller: Caller, request_: bytes) -> None:
    with await served.gate.enter():
        caller.writer.write(request_)
        async with asyncio.timeout(10):
            assert b"200" in await caller.reader.readuntil(b"\r\n")


async def test_who_waits_behind_another_on_its_connection_is_not_answered_before_it(
    served: Served, caller: Caller
) -> None:
    caller.writer.write(GET.replace(b"/databases", b"/slow"))
    async with asyncio.timeout(10):
        while not served.seen:  # noqa: ASYNC110  the application has no event for it
            await asyncio.sleep(0.01)
    with await served.gate.enter():
        caller.writer.write(GET + GET)
        served.go_on.set()
        assert (await caller.answer())[2] == b"served"
        assert {(await caller.answer())[0] for _ in range(2)} <= {b"200", b"503"}
