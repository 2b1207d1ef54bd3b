"""What a running system does when its parts are taken from it by force."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from database_service.cli.client import Client
from database_service.cli.exits import CommandFailed
from e2e.conftest import READY, Stack, Start

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

PATIENCE_S = 120


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)


@pytest.fixture
def rough(start: Start) -> Stack:
    """A system of one's own, to be rough with."""
    stack = start()
    stack.until(READY)
    return stack


def program(stack: Stack, *words: str) -> int:
    """The process of this stack whose command line has these words."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (process / "environ").read_bytes() + told.encode()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if all(word in told for word in words) and str(stack.data).encode() in environment and "up --" not in told:
            return int(process.name)
    raise AssertionError(f"no process {words}")


def allocate(client: Client, instance: str) -> int:
    wanted = {"instance_id": instance, "customer_id": "c", "plan_tier": "free"}
    return client.post("/allocate", wanted).status


def spares(client: Client) -> int:
    return int(client.get("/admin/stats").body["total_spare"])


def test_a_broker_that_is_down_does_not_fail_what_a_spare_can_serve(rough: Stack) -> None:
    with rough.client() as client:
        until(lambda: spares(client) >= 1, "a spare")
        broker = program(rough, "valkey-server")
        os.kill(broker, signal.SIGSTOP)  # worse than gone: it takes connections and never answers
        try:
            assert allocate(client, "while-down") == 200
        finally:
            os.kill(broker, signal.SIGCONT)
        os.kill(program(rough, "valkey-server"), signal.SIGKILL)
        assert allocate(client, "right-after") == 200
        until(lambda: spares(client) >= 1, "a spare again, as the supervisor brought the broker back")


def test_a_control_database_that_goes_away_is_503_and_all_recovers(rough: Stack) -> None:
    with rough.client() as client:
        os.kill(program(rough, "postgres", "control"), signal.SIGKILL)
        seen: set[int] = set()

        def answers() -> bool:
            try:
                return client.get("/databases/demo").status == 200
            except CommandFailed as e:
                seen.add(int((e.problem or {}).get("status", 0)))  # type: ignore[call-overload]
                return False

        until(answers, "the API answers again")
        assert seen <= {503}, (rough.data / "logs" / "api.log").read_text()[-8000:]
        assert allocate(client, "afterwards") == 200


def test_a_pool_that_is_killed_is_quarantined_at_the_next_check_and_returns(rough: Stack) -> None:
    with rough.client() as client:
        pool = client.get("/admin/pools").body["pools"][0]
        worker = program(rough, "serve", "worker")
        os.kill(worker, signal.SIGSTOP)  # so that it is the check by hand that finds it
        try:
            os.kill(rough.postmaster(pool["id"]), signal.SIGKILL)
            checked = client.post(f"/admin/pools/{pool['id']}/health-check", {}).body
            assert checked["health_status"] == "unhealthy"
            assert checked["message"]
        finally:
            os.kill(worker, signal.SIGCONT)
        until(lambda: client.get(f"/admin/pools/{pool['id']}").body["health_status"] == "healthy", "it returns")
        assert asyncio.run(_logs_in(client.get("/databases/demo/credentials").body))


async def _logs_in(found: dict[str, object]) -> bool:
    conn = await asyncpg.connect(
        host=found["db_host"], port=found["db_port"], database=found["db_name"], user=found["db_user"],
        password=found["db_password"], timeout=20,
    )  # fmt: skip
    await conn.close()
    return True


@pytest.mark.parametrize("name", ["api", "worker", "beat"])
def test_a_program_that_is_killed_comes_back(rough: Stack, name: str) -> None:
    with rough.client() as client:
        old = program(rough, "serve", name)
        os.kill(old, signal.SIGKILL)

        def replaced() -> bool:
            try:
                return program(rough, "serve", name) != old
            except AssertionError:
                return False

        until(replaced, f"{name} is started again")

        def allocated() -> bool:
            try:
                return allocate(client, f"after-{name}") == 200
            except CommandFailed:
                return False

        until(allocated, "allocation works")
