"""`dbs up` as a newcomer meets it: it starts, it stops, it comes back, and it says what is wrong."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from database_service.cli.root import INTERRUPTED
from e2e.conftest import READY, Stack, Start, command, homes_of, left_of
from support.cluster import free_port, free_ports_in_a_row

pytestmark = pytest.mark.stack

SENTENCE_S = 60


def refused(data: Path, port: int) -> "subprocess.CompletedProcess[str]":
    """Run `dbs up` where it cannot work; it must end by itself, with one sentence and nothing left."""
    ended = subprocess.run(command(data, port), capture_output=True, text=True, timeout=SENTENCE_S, check=False)
    assert ended.returncode not in (0, -signal.SIGKILL)
    assert "Traceback" not in ended.stdout + ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    return ended


def credentials(stack: Stack) -> dict[str, object]:
    with stack.client() as client:
        return client.get("/databases/demo/credentials").body


async def run_sql(found: dict[str, object], sql: str) -> object:
    conn = await asyncpg.connect(
        host=found["db_host"], port=found["db_port"], database=found["db_name"],
        user=found["db_user"], password=found["db_password"],
    )  # fmt: skip
    try:
        return await conn.fetchval(sql)
    finally:
        await conn.close()


async def test_a_first_run_ends_with_a_database_that_works(stack: Stack) -> None:
    assert await run_sql(credentials(stack), "SELECT 42") == 42


def test_it_tells_what_to_do_next(stack: Stack) -> None:
    for told in (f"{stack.url}/api/database", "/docs", "admin.token", "dbs --url", "curl -H", "Ctrl-C"):
        assert told in stack.output


def test_every_secret_is_in_a_file_that_only_its_owner_reads(stack: Stack) -> None:
    secrets = [stack.data / "admin.token", *(stack.data / "secrets").iterdir()]
    assert len(secrets) == 4
    for path in secrets:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_psql_opens_the_database(stack: Stack) -> None:
    asked = [
        sys.executable,
        "-m",
        "database_service",
        "--url",
        stack.url,
        "--token-file",
        str(stack.data / "admin.token"),
    ]
    said = subprocess.run(
        [*asked, "psql", "demo", "--", "-Atc", "SELECT 6 * 7"],
        capture_output=True,
        text=True,
        check=True,
        timeout=SENTENCE_S,
    )
    assert said.stdout.strip() == "42"


def test_a_second_up_on_the_same_data_says_so(stack: Stack) -> None:
    said = refused(stack.data, free_port())
    assert "Another `dbs up` already runs" in said.stderr
    with stack.client() as client:
        assert client.get("/health").ready


def test_a_taken_port_is_named_and_nothing_is_left(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert f"Port {port}" in refused(folder / "data", port).stderr
    assert left_of(folder / "data") == []


def test_a_data_dir_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert str(tmp_path / "file") in refused(tmp_path / "file" / "data", free_port()).stderr


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "none", disk], check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_without_room_is_named(small_disk: Path) -> None:
    assert "20 MB" in refused(small_disk / "data", free_port()).stderr
    assert left_of(small_disk) == []


async def test_ctrl_c_stops_everything_and_the_next_run_finds_the_same_data(start: Start) -> None:
    first = start()
    first.until(READY)
    before = credentials(first)
    await run_sql(before, "CREATE TABLE kept AS SELECT 7 AS seven")
    assert first.end() == 0
    assert left_of(first.data) == []

    second = start(port=first.port)
    second.until(READY)
    assert credentials(second) == before
    assert await run_sql(before, "SELECT seven FROM kept") == 7
    assert second.end(signal.SIGTERM) == 0
    assert left_of(first.data) == []


@pytest.mark.parametrize("said", ["", "Control plane", "Schema", "Broker"])
def test_ctrl_c_half_way_leaves_nothing(start: Start, said: str) -> None:
    stack = start()
    stack.until(said) if said else stack.until_begun()
    assert stack.end() == INTERRUPTED
    assert "Traceback" not in stack.output
    assert left_of(stack.data) == []


@pytest.mark.parametrize("said", ["Control plane", READY])
def test_an_impatient_second_ctrl_c_changes_nothing(start: Start, said: str) -> None:
    stack = start()
    stack.until(said)
    stack.process.send_signal(signal.SIGINT)
    stack.process.send_signal(signal.SIGTERM)
    assert stack.end() == (0 if said == READY else INTERRUPTED)
    assert "Traceback" not in stack.output
    assert left_of(stack.data) == []


async def test_a_killed_up_is_taken_over_by_the_next(start: Start) -> None:
    killed = start()
    killed.until(READY)
    before = credentials(killed)
    killed.end(signal.SIGKILL)
    assert left_of(killed.data) != []

    heir = start(port=killed.port)
    heir.until(READY)
    assert credentials(heir) == before
    assert await run_sql(before, "SELECT 1") == 1
    assert heir.end() == 0
    assert left_of(killed.data) == []


def test_also_a_killed_supervisord_leaves_nothing_for_ever(start: Start) -> None:
    killed = start()
    killed.until("Schema")
    supervisord = int((killed.data / "run" / "supervisor.pid").read_text())
    os.kill(supervisord, signal.SIGKILL)
    killed.process.wait(60)

    heir = start(port=killed.port)
    heir.until(READY)
    assert heir.end() == 0
    assert left_of(killed.data) == []


def run_an_instance(stack: Stack) -> str:
    """Where it answers; the example, beside the API of `stack`."""
    headers = {"Authorization": f"Bearer {(stack.data / 'instances.token').read_text().strip()}"}
    api = f"http://127.0.0.1:{stack.port + 1}/api/instances"
    with httpx.Client(headers=headers, timeout=40) as http:
        asked = {"name": "todo", "customer_id": "me", "plan_tier": "free"}
        seen = http.post(api, json=asked).raise_for_status().json()
        deadline = time.monotonic() + SENTENCE_S
        while seen["status"] != "running":
            assert time.monotonic() < deadline, seen
            seen = http.get(f"{api}/{seen['id']}", params={"wait": 20}).raise_for_status().json()
    return str(seen["url"])


def test_workloads_do_not_outlive_the_next_up_that_serves_no_instances(start: Start) -> None:
    killed = start(None, free_ports_in_a_row(2), 1, "--with-instances")
    killed.until(READY)
    url = run_an_instance(killed)
    supervisord = int((killed.data / "run" / "supervisor.pid").read_text())
    killed.end(signal.SIGKILL)
    os.kill(supervisord, signal.SIGKILL)
    assert httpx.get(url).is_success

    heir = start(port=killed.port)
    heir.until("Control plane")
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert heir.end() == INTERRUPTED
    assert left_of(killed.data) == []


@pytest.fixture
def deep() -> Iterator[Path]:
    """A folder that nobody but us enters, and with a path too long for any socket."""
    private = Path(tempfile.mkdtemp())
    data = private / ("deep-" * 12) / ("deeper-" * 8) / "data"
    yield data
    for made in (private, *homes_of(data)):
        shutil.rmtree(made, ignore_errors=True)


def test_a_private_and_very_long_path_works(start: Start, deep: Path) -> None:
    stack = start(data=deep)
    stack.until(READY)
    assert stack.end() == 0
    assert left_of(deep) == []
