"""The runbook of a lost control database, done as it is printed: with a backup, and once more without one."""

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from database_service.cli.client import Client
from database_service.provisioners.process import ProcessProvisioner
from database_service.provisioners.runtime import PostgresRuntime
from e2e.conftest import READY, put_down, started
from support.cluster import blocking, free_port
from support.folders import open_folder
from support.pages import DOCS, Shell, Step, follow, steps_of

pytestmark = pytest.mark.stack

PAGE = DOCS / "runbooks" / "control-database-lost.md"


def section(title: str) -> list[Step]:
    """The steps below one heading."""
    text = PAGE.read_text()
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, title
    return steps_of(found[1])


@pytest.fixture
def home(runtime: PostgresRuntime) -> Iterator[Path]:
    """A folder that pages take for the repository's."""
    with open_folder() as folder:
        (folder / ".venv").symlink_to(sys.prefix)
        try:
            yield folder
        finally:
            pools = runtime.reachable_home(folder / ".data" / "pools")
            blocking(ProcessProvisioner(runtime, pools).stop_all())


def environment(home: Path, url: str) -> dict[str, str]:
    path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "DATABASE_SERVICE_URL": url}


async def does(credentials: dict[str, object], statement: str) -> object:
    """As its caller, with what the caller was given."""
    conn = await asyncpg.connect(
        host=credentials["db_host"], port=credentials["db_port"], user=credentials["db_user"],
        password=credentials["db_password"], database=credentials["db_name"],
    )  # fmt: skip
    try:
        return await conn.fetchval(statement)
    finally:
        await conn.close()


def allocated(client: Client, instance: str) -> dict[str, object]:
    wanted = {"instance_id": instance, "customer_id": "acme", "plan_tier": "starter"}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = client.post("/allocate", wanted)
        if answer.ready:
            return dict(answer.body)
        time.sleep(0.2)
    raise AssertionError(f"{instance} has no database: {answer.body}")


def has_written(credentials: dict[str, object], what: str) -> None:
    blocking(does(credentials, f"CREATE TABLE notes AS SELECT '{what}' AS what"))


def await_registers(client: Client, pools: Path) -> None:
    """What is beside a server is written together with its register, one server after the other: when a second change is there,
    the first one is in both."""
    [pool] = client.get("/admin/pools").body["pools"]
    for change, told in (("cordon", True), ("uncordon", False)):
        client.post(f"/admin/pools/{pool['id']}/{change}", {"reason": "to be seen"} if told else {})
        until(lambda there=told: any(there == ("to be seen" in kept.read_text()) for kept in pools.glob("*/row.json")))


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_each_way_back_is_as_printed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTER_INTERVAL_S", "0.5")
    data, port = home / ".data", free_port()
    stack = started(data, port, home)
    given: dict[str, dict[str, object]] = {}
    try:
        stack.until(READY)
        with Shell(home, port, environment(home, stack.url)) as terminal, stack.client() as client:
            for instance in ("before", "rotated"):
                given[instance] = allocated(client, instance)
                has_written(given[instance], instance)
            follow(PAGE, terminal, section("Before it happens"))
            given["since"] = allocated(client, "since")
            has_written(given["since"], "since")
            given["rotated"] = dict(client.post("/databases/rotated/rotate", {"overlap_seconds": 0}).body)
            await_registers(client, data / "pools")
    finally:
        put_down(stack)

    with Shell(home, port, environment(home, stack.url)) as terminal:
        follow(PAGE, terminal, section("Stop what is left"))
        follow(PAGE, terminal, section("With a backup"))
        shutil.rmtree(data / "control")
        follow(PAGE, terminal, section("Without a backup"))

    stack = started(data, port, home)
    try:
        stack.until(READY)
        with stack.client() as client:
            for instance, credentials in given.items():
                assert blocking(does(credentials, "SELECT what FROM notes")) == instance
                again = allocated(client, instance)
                assert again["db_name"] == credentials["db_name"]
                assert blocking(does(again, "SELECT what FROM notes")) == instance
    finally:
        put_down(stack)
