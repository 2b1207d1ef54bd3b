"""The whole flow as a user meets it: database-service started by `dbs up`, instance-service beside it, real workloads."""

import asyncio
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from e2e.conftest import READY, Stack, put_down, running, started
from instance_service.workloads.interpreter import Interpreter
from instance_service.workloads.process import PORTS, Account
from instance_support.system import System, Told, running_beside
from support.cluster import free_port
from support.folders import open_folder

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

SLOTS = 10
SMALL_POOLS = {
    "DB_POOL_MAX_INSTANCES": str(SLOTS),
    "DB_POOL_MEMORY_LIMIT": "128M",
    "SPARES_LEAST": "0",
    "SPARES_MOST": "0",
}
TAKEN = 2
"""Databases that are there already: the one that `dbs up` makes, and instance-service's own."""
AT_ONCE = 30
FOLLOW_S = 60
"""An instance that is well is looked at every two seconds here."""
OUTAGE_S = float(os.environ.get("OUTAGE_S", "6"))
"""How long everything else is away; two minutes by hand."""

SHORT_LEASE = {"INSTANCES_LEASE_S": "36", "INSTANCES_EFFECT_TIMEOUT_S": "15"}
"""What a worker held that was killed is nobody's for that long."""

LIGHT = """
import http.server, os, pathlib
class Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(pathlib.Path(os.environ["DATABASE_URL_FILE"]).read_bytes())
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Door).serve_forever()
"""
"""A workload that tells its login: thirty of the example would need all of a small machine."""

WAITED = ["pending", "waiting_for_database", "starting", "running"]
AT_HAND = ["pending", "starting", "running"]


@contextmanager
def beside(stack: Stack, folder: Path, **settings: str) -> Iterator[System]:
    stack.until(READY)
    broker = next(stack.data.glob("**/broker-url")).read_text().strip() + "?virtual_host=1"
    token = (stack.data / "admin.token").read_text().strip()
    folder.mkdir(mode=0o755)
    with running_beside(stack.url, token, broker, folder, **settings) as system:
        system.until_ready()
        yield system


@pytest.fixture(scope="module", autouse=True)
def _small_pools() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL_POOLS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def light() -> Iterator[list[str]]:
    """The command of a small workload, which every account can run."""
    with open_folder() as folder:
        yield [str(Interpreter.for_account(Account.of(PORTS.start).uid, folder).program), "-c", LIGHT]


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Stack, System]]:
    with (
        open_folder() as folder,
        running(folder / "data", free_port(), folder) as stack,
        beside(stack, folder / "instances") as system,
    ):
        yield stack, system


def _pools(stack: Stack) -> list[Told]:
    with stack.client() as client:
        found: list[Told] = client.get("/admin/pools", limit=100).body["pools"]
    return found


def _all_at_once(names: list[str], create: Callable[[str], Told]) -> list[Told]:
    with ThreadPoolExecutor(len(names)) as threads:
        return list(threads.map(create, names))


async def _database_of(running: Told) -> str:
    """Which database the login leads to that its workload was given, as host, port and name."""
    async with httpx.AsyncClient() as client:
        url = (await client.get(running["url"])).text.strip()
    conn = await asyncpg.connect(url, timeout=20)
    try:
        name = await conn.fetchval("SELECT current_database()")
    finally:
        await conn.close()
    return f"{running['database']['db_host']}:{running['database']['db_port']}/{name}"


async def _databases_of(all_running: list[Told]) -> list[str]:
    return [await _database_of(each) for each in all_running]


def test_the_example_runs_on_its_database_and_goes_through_its_whole_life(pair: tuple[Stack, System]) -> None:
    stack, system = pair
    made = system.create("example")
    first = system.until(made["id"], "running", "error")
    assert first["status"] == "running", system.logs()
    assert httpx.get(f"{first['url']}/healthz").status_code == httpx.codes.OK

    system.ask(made["id"], "rotate-credentials")
    rotated = system.until(made["id"], "running", "error")
    assert rotated["database"]["db_user"] != first["database"]["db_user"]
    system.ask(made["id"], "stop")
    system.until(made["id"], "stopped")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{first['url']}/healthz")
    system.ask(made["id"], "start")
    again = system.until(made["id"], "running", "error")
    assert httpx.get(f"{again['url']}/healthz").status_code == httpx.codes.OK

    with system.client() as client:
        assert client.delete(f"/api/instances/{made['id']}").status_code == 202
    system.until(made["id"], "deleted")
    with stack.client() as client:
        assert client.get(f"/databases/{made['id']}").body["status"] in ("releasing", "released")
    assert system.trace(made["id"]) == [
        *AT_HAND, "rotating", "starting", "running", "stopping", "stopped", "starting", "running", "deleting", "deleted",
    ]  # fmt: skip


def test_thirty_at_once_with_one_small_pool_all_run_and_exactly_the_pools_they_need_are_ordered(
    pair: tuple[Stack, System], light: list[str]
) -> None:
    stack, system = pair
    taken = sum(pool["current_instances"] for pool in _pools(stack))
    made = _all_at_once([f"burst-{n}" for n in range(AT_ONCE)], lambda name: system.create(name, command=light))
    all_running = [system.until(each["id"], "running", "error") for each in made]
    assert {each["status"] for each in all_running} == {"running"}, system.logs()
    traces = [system.trace(each["id"]) for each in made]
    assert all(trace in (AT_HAND, WAITED) for trace in traces), traces
    assert WAITED in traces
    assert len(_pools(stack)) == math.ceil((taken + AT_ONCE) / SLOTS)
    assert len(set(asyncio.run(_databases_of(all_running)))) == AT_ONCE
    _an_operator_moves(stack, all_running[0])
    _until_it_followed(system, all_running[0])


def _an_operator_moves(stack: Stack, moved: Told) -> None:
    """To another pool; nobody tells instance-service."""
    with stack.client() as client:
        operation = client.post(f"/admin/databases/{moved['id']}/move", {}).body["id"]
        while client.get(f"/operations/{operation}", wait=20).body["state"] not in ("succeeded", "failed"):
            pass
        assert client.get(f"/operations/{operation}").body["state"] == "succeeded"


def _until_it_followed(system: System, before: Told) -> None:
    deadline = time.monotonic() + FOLLOW_S
    while (now := system.until(before["id"], "running", "error"))["database"] == before["database"]:
        assert time.monotonic() < deadline, now
        time.sleep(0.2)
    assert asyncio.run(_database_of(now)).startswith(f"{now['database']['db_host']}:{now['database']['db_port']}/")


def test_a_plan_with_a_server_of_its_own_moves_the_database_and_the_instance_follows_with_its_data(
    pair: tuple[Stack, System],
) -> None:
    _, system = pair
    made = system.create("grows")
    small = system.until(made["id"], "running", "error")
    added = httpx.post(f"{small['url']}/items", data={"text": "survives"})
    assert added.is_redirect, added.text

    system.ask(made["id"], "change-plan", plan_tier="premium")
    grown = system.until(made["id"], "running", "error")
    assert (grown["status"], grown["plan_tier"], grown["last_error"]) == ("running", "premium", None), system.logs()
    assert grown["database"]["db_port"] != small["database"]["db_port"]
    assert grown["database"]["db_user"] == small["database"]["db_user"]
    assert "survives" in httpx.get(grown["url"]).text
    assert system.trace(made["id"])[-4:] == ["running", "changing_plan", "starting", "running"]


def test_nothing_is_lost_and_nothing_is_double_when_everything_else_goes_away_meanwhile(light: list[str]) -> None:
    """Database-service with its worker, its servers and the broker is stopped while instances wait and are created; our
    worker is killed; and all of it comes back."""
    with open_folder() as folder, ExitStack() as stacks:
        stack = stacks.enter_context(_restartable(folder))
        system = stacks.enter_context(beside(stack, folder / "instances", **SHORT_LEASE))
        with system.client() as client:
            names = [f"storm-{n}" for n in range(SLOTS + 4)]
            made = _all_at_once(names, lambda name: system.create(name, command=light))
            system.kill("worker")
            assert stack.end(signal.SIGINT) in (0, 130)
            assert client.get("/api/instances/health").status_code == httpx.codes.OK
            time.sleep(OUTAGE_S)
            system.begin("worker")
            back = started(stack.data, stack.port, folder)
            stacks.callback(put_down, back)
            stacks.callback(system.end)
            back.until(READY)
            system.until_ready()
            again = _all_at_once(names, lambda name: system.create(name, command=light))
        assert [each["id"] for each in again] == [each["id"] for each in made]
        ended = [system.until(each["id"], "running", "error") for each in made]
        assert {each["status"] for each in ended} == {"running"}, [each["last_error"] for each in ended]
        assert len(set(asyncio.run(_databases_of(ended)))) == len(names)
        assert sum(pool["current_instances"] for pool in _pools(back)) == len(names) + TAKEN


@contextmanager
def _restartable(folder: Path) -> Iterator[Stack]:
    """A system that the test itself ends; where it does not come to that, it is put down here."""
    stack = started(folder / "data", free_port(), folder)
    try:
        yield stack
    finally:
        if stack.process.poll() is None:
            put_down(stack)
