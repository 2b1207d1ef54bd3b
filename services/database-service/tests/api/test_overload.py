"""More than can be served: who is let in is served, who is not is told at once, and what hangs takes nobody's place."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from database_service.actions.tokens import revoke
from database_service.admission.bounds import Bounds
from database_service.admission.gate import Gate, Why
from database_service.auth.rate import Pace
from database_service.dataplane.connect import Patience
from database_service.dataplane.sessions import TenantServers
from database_service.domain.servers import Server
from database_service.store import tokens as store
from database_service.store.changes import TOKEN_CHANGED
from support.house import WHO, House
from support.web import Door, Web, open_web

BUILT_AT_ONCE = 4
SOON_S = 20
LONG = timedelta(seconds=60)


def gate_of(web: Web) -> Gate:
    gate: Gate = web.app.state.gate
    return gate


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not holds():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def meanwhile(*requests: "asyncio.Task[httpx.Response]") -> AsyncIterator[None]:
    """They go on while the block runs, and are given up after it."""
    try:
        yield
    finally:
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)


# -- the gate ---------------------------------------------------------------------------------------------------------


async def test_who_finds_no_place_is_503_at_once_and_nothing_was_asked_for_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_web(house, Door(bounds=Bounds(at_once=1, queue=0))) as web:
        with await gate_of(web).enter():
            with monkeypatch.context() as patched:
                patched.setattr(store, "find", None)
                answer = await web.client.post("/allocate", content=b"{", headers={"X-Request-ID": "mine"})
            assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
            assert answer.headers["content-type"] == "application/problem+json"
            assert (answer.headers["retry-after"], answer.json()["request_id"]) == ("1", "mine")
            for path in ("/health", "/health/ready", "/metrics"):
                assert (await web.client.get(path)).status_code == 200, path
        assert (await web.allocate()).status_code == 202


async def test_who_waits_for_a_change_holds_no_place_and_too_many_of_them_are_answered_at_once(house: House) -> None:
    async with open_web(house, Door(bounds=Bounds(at_once=1, waiting=3))) as web:
        await web.allocate("slow")
        waiting = [asyncio.create_task(web.client.get("/databases/slow?wait=30")) for _ in range(3)]
        async with meanwhile(*waiting):
            await until(lambda: gate_of(web).aside(Why.CHANGE) == 3)
            fourth = await web.client.get("/databases/slow?wait=30")
            assert (fourth.status_code, fourth.json()["status"]) == (200, "waiting")
            assert not any(task.done() for task in waiting)
            await house.pool()
            await house.until_quiet()
            answers = await asyncio.gather(*waiting)
        assert [answer.json()["status"] for answer in answers] == ["ready"] * 3
        assert gate_of(web).inside == 0


async def test_a_body_that_does_not_come_takes_no_place_and_is_408(house: House) -> None:
    async with open_web(house, Door(bounds=Bounds(at_once=1), body_timeout_s=0.3)) as web:
        begun = asyncio.Event()

        async def half() -> AsyncIterator[bytes]:
            yield b'{"instance_id": '
            begun.set()
            await asyncio.Event().wait()

        slow = asyncio.create_task(_slow_post(web, half))
        await begun.wait()
        assert (await web.allocate("quick")).status_code == 202
        assert await slow == 408
        assert gate_of(web).inside == 0


async def _slow_post(web: Web, body: Callable[[], AsyncIterator[bytes]]) -> int:
    """httpx reads a body whole before its ASGI transport begins, so this speaks ASGI itself."""
    chunks, statuses = body(), []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": await anext(chunks), "more_body": True}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = {**web.client.headers, "content-type": "application/json", "transfer-encoding": "chunked"}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/api/database/allocate", "raw_path": b"/api/database/allocate", "query_string": b"", "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items() if name != "content-length"],
        "client": ("127.0.0.1", 1), "server": ("test", 80),
    }  # fmt: skip
    await web.app(scope, receive, send)  # type: ignore[arg-type]
    return int(str(statuses[0]))


# -- tenant servers that hang -----------------------------------------------------------------------------------------


@pytest.fixture
async def patient(house: House) -> AsyncIterator[House]:
    """Who waits for a server that hangs waits for as long as the test needs it."""
    async with TenantServers(BUILT_AT_ONCE, Patience(connect=LONG)) as tenants:
        yield replace(house, deps=replace(house.deps, tenants=tenants)).with_policy(allocate_budget=LONG)


@asynccontextmanager
async def frozen(house: House, slots: int) -> AsyncIterator[Server]:
    """A pool that takes connections and never says a word, as a server does that is stopped (SIGSTOP)."""
    ends: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: ends.append(writer), "127.0.0.1", 0)
    pool = await house.pool(slots)
    await house.value("UPDATE servers SET port = $2 WHERE id = $1", pool.id, silent.sockets[0].getsockname()[1])
    try:
        yield pool
    finally:
        silent.close()
        for end in ends:
            end.transport.abort()


async def test_a_server_that_hangs_holds_up_nobody_whose_database_is_elsewhere(patient: House) -> None:
    stuck_at_once = 8
    async with (
        open_web(patient, Door(bounds=Bounds(at_once=2))) as web,
        frozen(patient, stuck_at_once),
    ):
        stuck = [asyncio.create_task(web.allocate(f"stuck-{n}")) for n in range(stuck_at_once)]
        async with meanwhile(*stuck):
            await until(lambda: gate_of(web).aside(Why.SERVER) == stuck_at_once)
            await patient.pool()
            answers = await asyncio.gather(*(web.allocate(f"free-{n}") for n in range(10)))
            assert [answer.status_code for answer in answers] == [200] * 10
            assert (await web.client.get("/databases/free-1/credentials")).status_code == 200
            assert not any(task.done() for task in stuck), "the server was to hang all the time"


async def test_more_work_than_may_be_at_a_server_is_left_to_the_worker(patient: House) -> None:
    hurried = patient.with_policy(
        longest_wait=timedelta(seconds=0.2)
    )  # so long the worker is waited for, and it does not come
    async with open_web(hurried, Door(bounds=Bounds(on_servers=1))) as web, frozen(patient, 2) as pool:
        stuck = asyncio.create_task(web.allocate("stuck"))
        async with meanwhile(stuck):
            await until(lambda: gate_of(web).aside(Why.SERVER) == 1)
            left = await web.allocate("left")
            assert (left.status_code, left.json()["status"]) == (202, "provisioning")
            assert await patient.value("SELECT lease_until IS NULL FROM databases WHERE instance_id = 'left'")
        await patient.value("UPDATE servers SET port = $2 WHERE id = $1", pool.id, patient.tenant.port)
        await patient.until_quiet()
        assert (await web.allocate("left")).status_code == 200


# -- tokens nobody holds ----------------------------------------------------------------------------------------------


async def test_a_flood_of_tokens_nobody_holds_costs_no_query_each_and_shuts_out_nobody_who_was_here_before(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    find = store.find

    async def counted(*args: object) -> object:
        nonlocal looks
        looks += 1
        return await find(*args)  # type: ignore[arg-type]

    async with open_web(house, Door(strangers=Pace(0.001, 3))) as web:
        assert (await web.client.get("/admin/stats")).status_code == 200
        monkeypatch.setattr(store, "find", counted)
        bad = [
            await web.client.get("/admin/stats", headers={"Authorization": f"Bearer dbs_{n:040}"}) for n in range(20)
        ]
        assert [answer.status_code for answer in bad] == [401] * 3 + [429] * 17
        assert int(bad[-1].headers["retry-after"]) > 1
        assert looks == 3
        other, _ = await web.token()
        with house.deps.changes.watch(TOKEN_CHANGED, "*") as heard:
            await revoke(house.deps, other.id, WHO)
            await asyncio.wait_for(heard.wait(), SOON_S)
        await asyncio.sleep(0)  # everything that was remembered is forgotten
        assert (await web.client.get("/admin/stats")).status_code == 200


async def test_who_was_let_in_while_another_token_was_revoked_is_no_stranger(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = store.find
    async with open_web(house, Door(strangers=Pace(0.001, 1))) as web:
        other, _ = await web.token()

        async def found_before_a_revocation(*args: object) -> object:
            found = await find(*args)  # type: ignore[arg-type]
            with house.deps.changes.watch(TOKEN_CHANGED, "*") as heard:
                await revoke(house.deps, other.id, WHO)
                await asyncio.wait_for(heard.wait(), SOON_S)
            await asyncio.sleep(0)  # what is read now may be old, and is not remembered
            return found

        with monkeypatch.context() as patched:
            patched.setattr(store, "find", found_before_a_revocation)
            assert (await web.client.get("/admin/stats")).status_code == 200
        nobodys = {"Authorization": f"Bearer dbs_{0:040}"}
        assert [(await web.client.get("/admin/stats", headers=nobodys)).status_code for _ in range(2)] == [401, 429]
        assert (await web.client.get("/admin/stats")).status_code == 200


async def test_many_requests_with_a_token_that_is_not_remembered_are_one_look(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, fresh = await web.token()
    looks, go_on, find = 0, asyncio.Event(), store.find

    async def held(*args: object) -> object:
        nonlocal looks
        looks += 1
        await go_on.wait()
        return await find(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "find", held)
    asked = [asyncio.create_task(web.client.get("/admin/stats", headers=fresh)) for _ in range(10)]
    await until(lambda: gate_of(web).inside == 10)
    await until(lambda: looks > 0)
    go_on.set()
    assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 10
    assert looks == 1
