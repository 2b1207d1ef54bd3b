"""What only processes of this machine promise, or have to stand."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from instance_service.domain.errors import WorkloadFailed
from instance_service.domain.workloads import Presence, WorkloadSpec
from instance_service.workloads import places, process, sessions
from instance_service.workloads.interpreter import Interpreter
from instance_service.workloads.places import Life, Place
from instance_service.workloads.process import ProcessWorkloads
from instance_support.telling import Bench, login_of
from support.cluster import Cluster, fresh_database
from workloads.test_contract import until, well

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives workloads accounts of their own")


@pytest.fixture
def home(folder: Path) -> Path:
    return folder / "workloads"


def can_read(uid: int, file: Path) -> bool:
    read = ["/bin/cat", file]
    return subprocess.run(read, user=uid, group=uid, extra_groups=[], check=False, capture_output=True).returncode == 0


@pytest.fixture
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as begun:
        yield begun
        begun.kill()


def life_of(home: Path, spec: WorkloadSpec) -> Life:
    life = Place(home, spec.id).life()
    assert life
    return life


async def test_it_outlives_whoever_started_it_and_is_found_again(local: Bench, home: Path) -> None:
    spec = local.spec()
    first = local.told(await well(local, spec))
    again = ProcessWorkloads(home)
    seen = await again.observe(spec.id)
    assert seen.healthy
    assert seen.version == spec.version
    await again.ensure(spec)
    assert local.told(seen)["pid"] == first["pid"]
    assert os.getsid(first["pid"]) == first["pid"]


async def test_nothing_of_our_own_environment_reaches_it(local: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_SERVICE_TOKEN_FILE", "/where/our/token/is")
    told = local.told(await well(local, local.spec()))
    assert "/where/our/token/is" not in str(told["env"])
    assert told["cwd"].endswith("/own")


@ROOT
async def test_what_the_caller_asked_for_does_nothing_while_its_launcher_is_still_root(
    local: Bench, folder: Path
) -> None:
    """The loader writes a file for each program that runs with these, as whoever runs it."""
    written = folder / "written"
    written.mkdir()
    written.chmod(0o777)
    spec = local.spec(env={"LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": str(written / "by"), "PYTHONHOME": ""})
    uid = local.told(await well(local, spec))["uid"]
    assert {file.stat().st_uid for file in written.iterdir()} == {uid}


@ROOT
async def test_each_has_an_account_of_its_own_and_none_can_read_anothers_login(local: Bench, home: Path) -> None:
    one, two = local.spec(), local.spec(login=login_of("u_2"))
    uids = [local.told(await well(local, spec))["uid"] for spec in (one, two)]
    assert len({0, *uids}) == 3
    file = Place(home, one.id).login / "pgpass"
    assert [can_read(uid, file) for uid in uids] == [True, False]


async def test_what_it_began_itself_ends_with_it(local: Bench, home: Path) -> None:
    spec = local.spec(env={"CHILD": "1"})
    await well(local, spec)
    life = life_of(home, spec)
    assert len(sessions.members(life)) == 2
    await local.workloads.stop(spec.id)
    assert sessions.members(life) == []


async def test_what_it_said_last_says_why_it_ended_but_not_its_password(local: Bench) -> None:
    spec = local.spec(env={"ENDS": "3"})
    await local.workloads.ensure(spec)
    seen = await until(local, spec, lambda seen: seen.presence is Presence.STOPPED)
    assert seen.detail.startswith("its process is gone: my login is postgresql://u_1:***@")


async def test_children_of_one_that_was_killed_are_ended_too(local: Bench, home: Path) -> None:
    spec = local.spec(env={"CHILD": "1"})
    await well(local, spec)
    life = life_of(home, spec)
    assert life.pid
    os.kill(life.pid, signal.SIGKILL)
    seen = await until(local, spec, lambda seen: seen.presence is Presence.STOPPED)
    assert "its process is gone" in seen.detail
    await well(local, spec)
    assert sessions.members(life) == []


async def test_one_that_is_deaf_is_ended_by_force(local: Bench, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ENDINGS", ((signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0)))
    spec = local.spec(env={"DEAF": "1"})
    await well(local, spec)
    life = life_of(home, spec)
    await local.workloads.stop(spec.id)
    assert sessions.members(life) == []


async def test_a_stranger_who_got_its_number_is_left_alone(
    local: Bench, home: Path, stranger: "subprocess.Popen[bytes]"
) -> None:
    spec = local.spec()
    await well(local, spec)
    place = Place(home, spec.id)
    true = place.life_file.read_text()
    first, _, who = true.partition("\n")
    place.life_file.write_text(f"{first}\n{stranger.pid} {who.partition(' ')[2]}")
    assert (await local.workloads.observe(spec.id)).presence is Presence.STOPPED
    await local.workloads.stop(spec.id)
    assert stranger.poll() is None
    place.life_file.write_text(true)


@pytest.mark.parametrize(
    "text", ["", '{"vers', '{"version": "1", "health_path": "/"}\n', '{"version": "1", "health_path": "/"}\n123']
)
async def test_a_start_that_was_cut_off_is_made_again(local: Bench, home: Path, text: str) -> None:
    spec = local.spec()
    await local.workloads.ensure(spec)
    await local.workloads.stop(spec.id)
    Place(home, spec.id).life_file.write_text(text)
    assert (await local.workloads.observe(spec.id)).presence is Presence.STOPPED
    await well(local, spec)


async def test_its_port_stays_until_a_stranger_has_it(local: Bench) -> None:
    spec = local.spec()
    first = (await well(local, spec)).address
    assert first
    await local.workloads.stop(spec.id)
    assert (await well(local, spec)).address == first
    await local.workloads.stop(spec.id)
    with socket.create_server((first.host, first.port)):
        assert (await well(local, spec)).address != first


async def test_no_port_is_given_to_two(local: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PORTS", range(20300, 20302))
    one, two, three = (local.spec() for _ in range(3))
    await well(local, one)
    await local.workloads.stop(one.id)
    await well(local, two)
    with pytest.raises(WorkloadFailed, match="No port from 20300 to 20301 is free"):
        await local.workloads.ensure(three)
    await local.workloads.remove(one.id)
    await well(local, three)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"command": ("/no/such/program",)}, "The program /no/such/program cannot be run: No such file"),
        ({"command": ("/etc/passwd",)}, "The program /etc/passwd cannot be run: Permission denied"),
        ({"image": "shop:1"}, "run a command, not an image"),
    ],
)
async def test_what_cannot_be_run_is_said_at_once(local: Bench, changes: dict[str, object], sentence: str) -> None:
    spec = local.spec(**changes)
    with pytest.raises(WorkloadFailed, match=sentence):
        await local.workloads.ensure(spec)
    assert (await local.workloads.observe(spec.id)).presence in (Presence.ABSENT, Presence.STOPPED)


async def test_who_cannot_be_read_is_unknown_and_not_absent(local: Bench, home: Path) -> None:
    spec = local.spec()
    await well(local, spec)
    file = Place(home, spec.id).identity_file
    true = file.read_text()
    file.write_text(json.dumps({"format": 99}))
    seen = await local.workloads.observe(spec.id)
    assert seen.presence is Presence.UNKNOWN
    assert "is damaged" in seen.detail
    with pytest.raises(WorkloadFailed, match="is damaged"):
        await local.workloads.ensure(spec)
    file.write_text(true)


async def test_while_somebody_is_busy_with_it_nobody_else_is(
    local: Bench, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "LOCK_PATIENCE_S", 0.1)
    spec = local.spec()
    await well(local, spec)
    with places.alone(Place(home, spec.id).lock_file), pytest.raises(WorkloadFailed, match="busy with it"):
        await local.workloads.stop(spec.id)


async def test_who_was_given_up_while_somebody_else_was_busy_changes_nothing_afterwards(
    local: Bench, home: Path
) -> None:
    spec = local.spec()
    place = Place(home, spec.id)
    place.make()
    with places.alone(place.lock_file), pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await local.workloads.ensure(spec)
    await asyncio.get_running_loop().shutdown_default_executor()
    assert place.life() is None


async def test_all_are_ended_at_once_and_then_begin_again_when_they_are_looked_at(local: Bench, home: Path) -> None:
    specs = [local.spec() for _ in range(3)]
    for spec in specs:
        await well(local, spec)
    lives = [life_of(home, spec) for spec in specs]
    await ProcessWorkloads(home).halt_all()
    assert [sessions.members(life) for life in lives] == [[], [], []]
    await well(local, specs[0])


async def test_what_it_said_with_an_earlier_login_is_put_aside_when_it_is_started_again(
    local: Bench, home: Path
) -> None:
    first = local.spec(env={"ENDS": "1"})
    second = local.spec(first.id, login=login_of("u_2"), env={"ENDS": "1"})
    for spec in (first, second):
        await local.workloads.ensure(spec)
        await until(local, spec, lambda seen: seen.presence is Presence.STOPPED)
    log = Place(home, first.id).log
    assert log.read_text().count("my login is") == 1
    assert second.login.password.reveal() in log.read_text()
    assert first.login.password.reveal() in log.with_suffix(".old").read_text()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("no postgresql://u_1:before@db/shop", "no postgresql://u_1:***@db/shop"),
        ("no redis://:p@ss@cache and amqp://a:b@c", "no redis://:***@cache and amqp://a:***@c"),
        ("see http://localhost:8000/", "see http://localhost:8000/"),
        ("torn \x00\x1b[31m words\x00", "torn   [31m words"),
    ],
)
async def test_what_it_said_last_tells_nobodys_password_and_can_be_stored(
    local: Bench, home: Path, said: str, told: str
) -> None:
    place = Place(home, local.spec().id)
    place.make()
    place.log.write_text(f"{said}\n")
    assert place.last_words() == told


# -- the example ------------------------------------------------------------------------------------------------------


async def test_without_a_command_the_example_runs_on_its_database(local: Bench, cluster: Cluster, home: Path) -> None:
    with fresh_database(cluster) as name:
        login = login_of("ignored", cluster.host, cluster.port)
        true = type(login)(login.address, name, cluster.superuser, cluster.password)
        spec = local.spec(command=(), login=true)
        seen = await well(local, spec)
        assert seen.address
        url = f"http://{seen.address.host}:{seen.address.port}/items"
        async with httpx.AsyncClient(follow_redirects=True) as browser:
            assert ">milk<" in (await browser.post(url, data={"text": "milk"})).text
        await local.workloads.remove(spec.id)


@ROOT
def test_where_our_own_python_is_closed_to_an_account_a_copy_is_made_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_as = Interpreter.runs_as
    monkeypatch.setattr(Interpreter, "runs_as", lambda self, uid: self.packages is not None and runs_as(self, uid))
    copy = Interpreter.for_account(60600, folder)
    assert copy.program.is_relative_to(folder)
    made = copy.program.stat().st_ino
    assert Interpreter.for_account(60601, folder) == copy
    assert copy.program.stat().st_ino == made


@ROOT
def test_a_copy_that_cannot_be_made_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Interpreter, "runs_as", lambda self, uid: False)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(WorkloadFailed, match="cannot be copied"):
        Interpreter.for_account(60600, folder)
    assert list(folder.iterdir()) == []
