"""The harness in short: a run of some seconds, and what it promises about itself."""

import asyncio
import os
import re
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import httpx
import pytest

from chaos.bugs.planted import BUGS
from chaos.clients import VERBS, Client
from chaos.memory import Journal, Life, Race, Works
from chaos.schedule import LASTING, Kind, faults
from chaos.wires import Mood, Tcp, Wire
from e2e.conftest import processes_of
from support.cluster import Cluster, free_port

TESTS = Path(__file__).parents[1]
SEED = 5
GUARD_S = 60
RESET = struct.pack("ii", 1, 0)
"""A socket that lingers for no time is not closed but reset."""


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_some_seconds_of_chaos_break_no_promise_and_leave_nothing() -> None:
    """In a process of its own: what it breaks is none of ours."""
    command = [
        sys.executable,
        "-m",
        "chaos",
        "--seed",
        str(SEED),
        *["--minutes", "0.2", "--clients", "8", "--apart", "1.5", "--pools", "1"],
    ]
    ran = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "every promise was kept" in ran.stdout
    assert "had to be ended" not in ran.stderr
    folder = _folder(ran.stdout)
    assert processes_of(folder) == {}
    assert not folder.exists()


@pytest.mark.stack
@pytest.mark.timeout(200)
def test_a_harness_that_is_killed_leaves_no_process_and_no_folder() -> None:
    harness = subprocess.Popen(
        [sys.executable, "-m", "chaos", "--seed", "1", "--minutes", "3", "--clients", "4"],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert harness.stdout
    folder = _folder(next(line for line in harness.stdout if " in /" in line))
    _until(lambda: any("serve worker" in told for told in processes_of(folder).values()))
    harness.kill()
    harness.wait()
    harness.stdout.close()
    _until(lambda: not (folder.exists() or processes_of(folder)))
    assert str(folder) not in Path("/proc/mounts").read_text()


def _folder(said: str) -> Path:
    return Path(re.findall(r"^seed .* in (/\S+)$", said, re.MULTILINE)[0])


def _until(true: object) -> None:
    deadline = time.monotonic() + GUARD_S
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_seed_and_nothing_else_says_what_is_done_when() -> None:
    assert faults(7, 600) == faults(7, 600)
    assert faults(7, 600) != faults(8, 600)
    assert faults(7, 60) == [fault for fault in faults(7, 600) if fault.at_s <= 60]


def test_a_clients_turns_come_of_its_seed_whatever_came_of_those_before() -> None:
    one, other = (Client(3, 7, httpx.AsyncClient(), Journal(), {}) for _ in range(2))
    first = [one._next_turn(VERBS) for _ in range(20)]
    for turn in first:
        assert other._next_turn(VERBS) == turn
        other._dice.random()
    neighbour = Client(4, 7, httpx.AsyncClient(), Journal(), {})
    assert [neighbour._next_turn(VERBS) for _ in range(20)] != first


def test_half_an_hour_has_five_hundred_faults_of_every_kind() -> None:
    done = faults(1, 1800)
    assert len(done) >= 500
    assert {fault.kind for fault in done} == set(Kind)
    assert all(fault.lasts_s <= 42 for fault in done)
    assert all((fault.lasts_s > 0) == (fault.kind in LASTING) for fault in done)


@pytest.mark.parametrize("bug", BUGS)
def test_every_bug_can_still_be_planted(bug: str) -> None:
    planted = subprocess.run(
        [sys.executable, "-c", "import sitecustomize"],
        env=os.environ | {"PYTHONPATH": str(TESTS / "chaos" / "bugs"), "CHAOS_BUG": bug},
        capture_output=True,
        text=True,
        check=True,
    )
    assert planted.stderr == ""


# -- wires ------------------------------------------------------------------------------------------------------------


async def test_a_wire_carries_a_login_and_a_cut_one_ends_it(cluster: Cluster) -> None:
    wire = Wire("a", Tcp("127.0.0.1", port := free_port()), Tcp(cluster.host, cluster.port))
    await wire.plug()
    dsn = cluster.dsn().replace(f":{cluster.port}/", f":{port}/")
    conn = await asyncpg.connect(dsn)
    assert await conn.fetchval("SELECT 1") == 1
    await wire.become(Mood.CUT)
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await conn.fetchval("SELECT 1")
    with pytest.raises((OSError, asyncpg.PostgresError)):
        await asyncpg.connect(dsn, timeout=2)
    await wire.become(Mood.WELL)
    again = await asyncpg.connect(dsn)
    await again.close()
    await wire.unplug()


async def test_a_silent_wire_loses_nothing_and_tells_nobody(cluster: Cluster) -> None:
    wire = Wire("a", Tcp("127.0.0.1", port := free_port()), Tcp(cluster.host, cluster.port))
    await wire.plug()
    conn = await asyncpg.connect(cluster.dsn().replace(f":{cluster.port}/", f":{port}/"))
    await wire.become(Mood.SILENT)
    with pytest.raises(TimeoutError):
        await conn.fetchval("SELECT 1", timeout=0.1)
    await wire.become(Mood.WELL)
    await conn.close(timeout=5)
    await wire.unplug()


async def test_who_is_torn_off_leaves_no_session_behind_a_wire(cluster: Cluster) -> None:
    wire = Wire("a", Tcp("127.0.0.1", port := free_port()), Tcp(cluster.host, cluster.port))
    await wire.plug()
    torn = await asyncpg.connect(cluster.dsn().replace(f":{cluster.port}/", f":{port}/"))
    session = torn.get_server_pid()
    torn._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    torn._transport.abort()
    beside = await asyncpg.connect(cluster.dsn())
    async with asyncio.timeout(5):
        while await beside.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", session):  # noqa: ASYNC110  nothing tells us
            await asyncio.sleep(0.01)
    await beside.close()
    await wire.unplug()


# -- memory -----------------------------------------------------------------------------------------------------------


def _told(user: str, password: str = "p", database: str = "d") -> dict[str, object]:
    return {"db_user": user, "db_password": password, "db_name": database, "db_host": "h", "db_port": 1}


def test_the_same_user_with_another_password_contradicts() -> None:
    life = Life("i", "c", "free")
    assert life.learn(_told("u")) is None
    assert life.learn(_told("u")) is None
    assert "two passwords" in str(life.learn(_told("u", "other")))


def test_another_login_contradicts_unless_a_rotation_was_asked_for() -> None:
    life = Life("i", "c", "free")
    life.learn(_told("u1"))
    assert "2 logins" in str(life.learn(_told("u2")))
    life = Life("i", "c", "free", rotations=1)
    life.learn(_told("u1"))
    assert life.learn(_told("u2")) is None
    assert "after a newer" in str(life.learn(_told("u1")))


def test_nobody_vouches_for_a_login_that_a_late_rotation_may_end() -> None:
    life = Life("i", "c", "free", rotations=2)
    life.learn(_told("u1"))
    life.be_late("rotate")
    life.learn(_told("u2"))
    assert [given.works for given in life.given] == [Works.YES, Works.UNSURE]


def test_two_customers_or_two_databases_for_one_instance_contradict() -> None:
    race = Race("i")
    assert race.learn("a", _told("u")) is None
    assert "different credentials" in str(race.learn("a", _told("u2")))
    assert "was given to" in str(race.learn("b", _told("u")))
