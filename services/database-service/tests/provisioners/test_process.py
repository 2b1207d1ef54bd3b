"""Local servers: what happens to them and to us, and what is there afterwards."""

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.servers import Presence, ServerSpec
from database_service.provisioners.place import Hands, Place
from database_service.provisioners.postmaster import Postmaster
from database_service.provisioners.process import ProcessProvisioner
from database_service.provisioners.runtime import PostgresRuntime
from support.local_servers import (
    PASSWORD,
    FragileHands,
    a_spec,
    address_of,
    dsn_of,
    in_child,
    postmasters_in,
    told_by_proc,
)
from support.login import until_login

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


async def until_it_answers(provisioner: ProcessProvisioner, spec: ServerSpec) -> str:
    dsn = dsn_of(spec, await address_of(provisioner, spec))
    await until_login(dsn)
    return dsn


async def ask(dsn: str, question: str) -> object:
    conn = await asyncpg.connect(dsn)
    try:
        return await conn.fetchval(question)
    finally:
        await conn.close()


def kill_postmaster(place: Place) -> int:
    """As the kernel does when memory is short. Its number; nothing of it is cleaned up."""
    (pid,) = postmasters_in(place.data_dir)
    os.kill(pid, signal.SIGKILL)
    while postmasters_in(place.data_dir):
        pass  # its own processes notice and end
    return pid


# -- killed in the middle ---------------------------------------------------------------------------------------------


def moments_of(work: Callable[[FragileHands], Coroutine[object, object, None]], runtime: PostgresRuntime) -> int:
    """How many moments there are at which that work can be cut off."""
    hands = FragileHands(runtime)
    asyncio.run(work(hands))
    return hands.moments


@pytest.mark.parametrize("afterwards", ["ensured", "removed"])
def test_making_a_server_may_be_cut_off_around_every_effect(
    runtime: PostgresRuntime, home: Path, afterwards: str
) -> None:
    def make(spec: ServerSpec) -> Callable[[FragileHands], Coroutine[object, object, None]]:
        return lambda hands: ProcessProvisioner(runtime, home, hands.as_hands()).ensure(spec)

    moments = moments_of(make(a_spec()), runtime)
    for moment in range(moments):
        spec = a_spec()
        assert in_child(lambda s=spec, m=moment: make(s)(FragileHands(runtime, m))) == -signal.SIGKILL  # type: ignore[misc]
        asyncio.run(ends_well(ProcessProvisioner(runtime, home), home, spec, afterwards))
    sys.stdout.write(f"{moments} moments\n")
    assert moments == 12


async def ends_well(local: ProcessProvisioner, home: Path, spec: ServerSpec, afterwards: str) -> None:
    if afterwards == "ensured":
        await local.ensure(spec)
        await until_it_answers(local, spec)
        assert len(postmasters_in(Place(home, spec.id).data_dir)) == 1
    await local.remove(spec.id, keep_data=False)
    assert (await local.observe(spec.id)).presence is Presence.ABSENT
    assert Place(home, spec.id).traces() == []
    assert postmasters_in(Place(home, spec.id).data_dir) == []


def test_removing_a_server_may_be_cut_off_around_every_effect(runtime: PostgresRuntime, home: Path) -> None:
    local = ProcessProvisioner(runtime, home)

    def remove(spec: ServerSpec) -> Callable[[FragileHands], Coroutine[object, object, None]]:
        return lambda hands: ProcessProvisioner(runtime, home, hands.as_hands()).remove(spec.id, keep_data=False)

    first = a_spec()
    asyncio.run(local.ensure(first))
    moments = moments_of(remove(first), runtime)
    for moment in range(moments):
        spec = a_spec()
        asyncio.run(local.ensure(spec))
        assert in_child(lambda s=spec, m=moment: remove(s)(FragileHands(runtime, m))) == -signal.SIGKILL  # type: ignore[misc]
        assert_nothing_is_forgotten(local, home, spec)
        asyncio.run(ends_well(local, home, spec, "removed"))
    sys.stdout.write(f"{moments} moments\n")
    assert moments == 6


def assert_nothing_is_forgotten(local: ProcessProvisioner, home: Path, spec: ServerSpec) -> None:
    """What still lies on the disk is never called absent: nobody would come back for it."""
    seen = asyncio.run(local.observe(spec.id))
    left = [path for path in Place(home, spec.id).traces() if path.is_dir()]
    assert (seen.presence is Presence.ABSENT) == (left == [])


async def test_a_server_whose_removal_began_is_not_started_again(runtime: PostgresRuntime, home: Path) -> None:
    class Forgetful(Hands):
        def delete(self, place: Place) -> None:
            raise OSError(errno.EBUSY, "Device or resource busy")

    local, spec = ProcessProvisioner(runtime, home, Forgetful(runtime)), a_spec()
    await local.ensure(spec)
    with pytest.raises(ProvisioningFailed, match="busy"):
        await local.remove(spec.id, keep_data=False)
    with pytest.raises(ProvisioningFailed, match="is being removed"):
        await local.ensure(spec)
    assert [found.presence for found in await local.list_ours()] == [Presence.STOPPED]


def test_a_data_directory_cut_off_while_it_was_made_is_not_taken_for_a_server(
    runtime: PostgresRuntime, home: Path
) -> None:
    class Impatient(PostgresRuntime):
        def _take_over(self, directory: Path) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

    spec, local = a_spec(), ProcessProvisioner(runtime, home)
    impatient = Impatient(runtime.bin_dir, runtime.account, runtime.version)
    assert in_child(lambda: ProcessProvisioner(impatient, home).ensure(spec)) == -signal.SIGKILL
    directory = Place(home, spec.id).directory
    assert list(directory.glob(".data.making-*"))
    asyncio.run(local.ensure(spec))
    assert not list(directory.glob(".data.making-*"))
    asyncio.run(until_it_answers(local, spec))


def test_a_server_outlives_the_process_that_started_it(runtime: PostgresRuntime, home: Path) -> None:
    spec, local = a_spec(), ProcessProvisioner(runtime, home)
    assert in_child(lambda: local.ensure(spec)) == 0
    asyncio.run(until_it_answers(local, spec))


def test_two_workers_at_once_make_one_server(runtime: PostgresRuntime, home: Path) -> None:
    spec, local = a_spec(), ProcessProvisioner(runtime, home)

    async def both() -> None:
        await asyncio.gather(*(asyncio.to_thread(in_child, lambda: local.ensure(spec)) for _ in range(2)))
        await until_it_answers(local, spec)

    asyncio.run(both())
    assert len(postmasters_in(Place(home, spec.id).data_dir)) == 1


async def test_many_tasks_at_once_make_one_server(local: ProcessProvisioner, home: Path) -> None:
    spec = a_spec()
    await asyncio.gather(*(local.ensure(spec) for _ in range(6)))
    await until_it_answers(local, spec)
    assert len(postmasters_in(Place(home, spec.id).data_dir)) == 1


# -- killed servers ---------------------------------------------------------------------------------------------------


async def test_a_killed_server_is_stopped_and_starts_again_with_what_was_committed(
    local: ProcessProvisioner, home: Path
) -> None:
    spec = a_spec()
    await local.ensure(spec)
    await ask(await until_it_answers(local, spec), "CREATE TABLE kept AS SELECT 7 AS n")
    kill_postmaster(Place(home, spec.id))
    assert (await local.observe(spec.id)).presence is Presence.STOPPED
    await local.ensure(spec)
    assert await ask(await until_it_answers(local, spec), "SELECT n FROM kept") == 7


@contextlib.contextmanager
def a_stranger(runtime: PostgresRuntime) -> Iterator[subprocess.Popen[bytes]]:
    """Some other process of the account."""
    with subprocess.Popen(["sleep", "600"], **runtime.account.popen_arguments()) as stranger:
        try:
            yield stranger
        finally:
            stranger.kill()


async def test_a_recycled_process_id_is_neither_taken_for_the_server_nor_harmed(
    local: ProcessProvisioner, runtime: PostgresRuntime, home: Path
) -> None:
    spec = a_spec()
    await local.ensure(spec)
    await until_it_answers(local, spec)
    place = Place(home, spec.id)
    dead = kill_postmaster(place)
    with a_stranger(runtime) as stranger:
        pid_file = place.data_dir / "postmaster.pid"
        pid_file.write_text(pid_file.read_text().replace(str(dead), str(stranger.pid), 1))
        assert (await local.observe(spec.id)).presence is Presence.STOPPED
        await local.remove(spec.id, keep_data=True)
        assert stranger.poll() is None
        await local.ensure(spec)
        await until_it_answers(local, spec)
        assert stranger.poll() is None


async def test_a_port_that_a_stranger_took_is_given_up_for_another(local: ProcessProvisioner, home: Path) -> None:
    spec = a_spec()
    await local.ensure(spec)
    before = await address_of(local, spec)
    await local.remove(spec.id, keep_data=True)
    with socket.create_server((before.host, before.port)):
        await local.ensure(spec)
        after = await address_of(local, spec)
        assert after.port != before.port
        await until_it_answers(local, spec)
    identity = Place(home, spec.id).identity()
    assert identity is not None
    assert identity.port == after.port


async def test_a_server_keeps_its_port(local: ProcessProvisioner) -> None:
    spec = a_spec()
    await local.ensure(spec)
    before = await address_of(local, spec)
    await local.remove(spec.id, keep_data=True)
    await local.ensure(spec)
    assert await address_of(local, spec) == before


async def test_the_port_of_a_stopped_server_is_not_given_to_another(runtime: PostgresRuntime, home: Path) -> None:
    first, second = a_spec(), a_spec()
    await ProcessProvisioner(runtime, home, ports=range(24000, 24200)).ensure(first)
    identity = Place(home, first.id).identity()
    assert identity is not None
    narrow = ProcessProvisioner(runtime, home, ports=range(identity.port, identity.port + 1))
    await narrow.remove(first.id, keep_data=True)
    with pytest.raises(ProvisioningFailed, match="No port from"):
        await narrow.ensure(second)


# -- never an empty server where data should be -----------------------------------------------------------------------


@pytest.mark.parametrize("mount_point_is_there", [True, False])
async def test_data_that_is_missing_is_an_error_and_never_a_fresh_server(
    local: ProcessProvisioner, home: Path, mount_point_is_there: bool
) -> None:
    spec = a_spec()
    await local.ensure(spec)
    await local.remove(spec.id, keep_data=True)
    place = Place(home, spec.id)
    shutil.rmtree(place.data_dir)
    if mount_point_is_there:
        place.data_dir.mkdir()
    assert "its data is not in" in (await local.observe(spec.id)).why
    with pytest.raises(ProvisioningFailed, match="never replaced by an empty server"):
        await local.ensure(spec)


async def test_a_server_that_was_in_use_is_not_made_anew_where_its_whole_disk_is_missing(
    local: ProcessProvisioner, home: Path
) -> None:
    spec = replace(a_spec(), made_before=True)
    with pytest.raises(ProvisioningFailed, match="never replaced by an empty server"):
        await local.ensure(spec)
    assert not Place(home, spec.id).data_dir.exists()


async def test_data_without_an_identity_is_left_alone(local: ProcessProvisioner, home: Path) -> None:
    spec = a_spec()
    await local.ensure(spec)
    await local.remove(spec.id, keep_data=True)
    Place(home, spec.id).identity_file.unlink()
    with pytest.raises(ProvisioningFailed, match="left alone"):
        await local.ensure(spec)


async def test_data_of_another_major_version_is_not_touched(local: ProcessProvisioner, home: Path) -> None:
    spec = a_spec()
    await local.ensure(spec)
    await local.remove(spec.id, keep_data=True)
    (Place(home, spec.id).data_dir / "PG_VERSION").write_text("16\n")
    with pytest.raises(ProvisioningFailed, match="made by PostgreSQL 16, which PostgreSQL 18 cannot run"):
        await local.ensure(spec)


async def test_a_home_that_is_gone_says_nothing_about_its_servers(runtime: PostgresRuntime, home: Path) -> None:
    seen = await ProcessProvisioner(runtime, home / "not-mounted").observe(a_spec().id)
    assert seen.presence is Presence.UNKNOWN


async def test_one_damaged_identity_does_not_hide_the_other_servers(local: ProcessProvisioner, home: Path) -> None:
    damaged, well = a_spec(), a_spec()
    for spec in (damaged, well):
        await local.ensure(spec)
    Place(home, damaged.id).identity_file.write_text("{")
    found = {each.id: each.presence for each in await local.list_ours()}
    assert found == {damaged.id: Presence.UNKNOWN, well.id: Presence.RUNNING}


# -- what goes wrong is said ------------------------------------------------------------------------------------------


async def test_a_server_that_gives_up_at_once_says_why_in_its_own_words(local: ProcessProvisioner) -> None:
    spec = a_spec(shared_preload_libraries="no_such_library")
    with pytest.raises(ProvisioningFailed, match="no_such_library") as failure:
        await local.ensure(spec)
    assert "\n" not in str(failure.value)


async def test_memory_that_is_not_there_is_said_in_a_sentence(local: ProcessProvisioner) -> None:
    with pytest.raises(ProvisioningFailed, match=r"gave up: .*shared memory"):
        await local.ensure(a_spec(shared_buffers="8000GB"))


async def test_a_wrong_parameter_can_be_put_right(local: ProcessProvisioner) -> None:
    wrong = a_spec(max_connections="many")
    with pytest.raises(ProvisioningFailed, match="max_connections"):
        await local.ensure(wrong)
    right = replace(wrong, settings=a_spec().settings)
    await local.ensure(right)
    await until_it_answers(local, right)


@pytest.mark.parametrize("effect", ["make_room", "write_identity", "make_data", "write_settings"])
async def test_a_full_disk_is_one_sentence(
    runtime: PostgresRuntime, home: Path, monkeypatch: pytest.MonkeyPatch, effect: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    spec = a_spec()
    monkeypatch.setattr(Hands, effect, full)
    with pytest.raises(ProvisioningFailed, match=f"{spec.name} cannot be handled: No space left on device"):
        await ProcessProvisioner(runtime, home).ensure(spec)


async def test_a_home_that_cannot_be_made_is_one_sentence(runtime: PostgresRuntime, home: Path) -> None:
    (home / "file").write_text("")
    with pytest.raises(ProvisioningFailed, match=r"cannot be made|Not a directory"):
        await ProcessProvisioner(runtime, home / "file" / "home").ensure(a_spec())


async def test_a_parameter_that_would_add_a_line_is_refused(local: ProcessProvisioner) -> None:
    with pytest.raises(ProvisioningFailed, match="line break"):
        await local.ensure(a_spec(application_name="x\nlisten_addresses = '*'"))


# -- what a server is like --------------------------------------------------------------------------------------------


def files_with(needle: str, directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and needle.encode() in path.read_bytes()]


async def test_the_password_lies_nowhere_on_the_disk_and_in_no_process_list(
    local: ProcessProvisioner, home: Path
) -> None:
    spec = a_spec()
    await local.ensure(spec)
    await until_it_answers(local, spec)
    needle = PASSWORD.reveal()
    assert files_with(needle, home) == []
    (pid,) = postmasters_in(Place(home, spec.id).data_dir)
    assert needle not in told_by_proc(pid, "cmdline")


async def test_nothing_of_our_environment_reaches_a_server(
    local: ProcessProvisioner, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEYS", "k1:of-the-house")
    spec = a_spec()
    await local.ensure(spec)
    (pid,) = postmasters_in(Place(home, spec.id).data_dir)
    assert "of-the-house" not in told_by_proc(pid, "environ")


async def test_a_server_never_runs_as_root(local: ProcessProvisioner, runtime: PostgresRuntime, home: Path) -> None:
    spec = a_spec()
    await local.ensure(spec)
    (pid,) = postmasters_in(Place(home, spec.id).data_dir)
    status = told_by_proc(pid, "status")
    uid, gid = runtime.account.uid, runtime.account.gid
    assert uid != 0
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status
    assert f"Gid:\t{gid}\t{gid}\t{gid}\t{gid}\n" in status


async def test_a_wrong_password_is_refused(local: ProcessProvisioner) -> None:
    spec = a_spec()
    await local.ensure(spec)
    await until_it_answers(local, spec)
    address = await address_of(local, spec)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host=address.host, port=address.port, user="admin", password="guessed", database="postgres"
        )


async def test_a_server_has_the_parameters_of_its_spec_and_ours(local: ProcessProvisioner) -> None:
    spec = a_spec(work_mem="3MB", log_line_prefix="it's a \\ ")
    await local.ensure(spec)
    dsn = await until_it_answers(local, spec)
    assert await ask(dsn, "SHOW work_mem") == "3MB"
    assert await ask(dsn, "SHOW log_line_prefix") == "it's a \\ "
    assert await ask(dsn, "SHOW listen_addresses") == "127.0.0.1"
    assert await ask(dsn, "SHOW file_copy_method") == "clone"
    assert await ask(dsn, "SHOW password_encryption") == "scram-sha-256"
    assert await ask(dsn, "SELECT datlocale FROM pg_database WHERE datname = 'template0'") == "C.UTF-8"


async def test_stopping_all_keeps_their_data(local: ProcessProvisioner) -> None:
    specs = [a_spec(), a_spec()]
    for spec in specs:
        await local.ensure(spec)
    await local.stop_all()
    assert {found.presence for found in await local.list_ours()} == {Presence.STOPPED}
    for spec in specs:
        await local.ensure(spec)
        await until_it_answers(local, spec)


async def test_a_session_that_will_not_leave_does_not_keep_a_server_from_stopping(local: ProcessProvisioner) -> None:
    spec = a_spec()
    await local.ensure(spec)
    conn = await asyncpg.connect(await until_it_answers(local, spec))
    await conn.execute("BEGIN; CREATE TABLE t ()")
    await local.remove(spec.id, keep_data=True)
    assert (await local.observe(spec.id)).presence is Presence.STOPPED
    conn.terminate()


async def test_a_server_that_was_just_being_started_is_stopped_gently(
    local: ProcessProvisioner, runtime: PostgresRuntime, home: Path
) -> None:
    spec = a_spec()
    await local.ensure(spec)
    await local.remove(spec.id, keep_data=True)
    server = Postmaster.at(runtime, home / str(spec.id))
    with server.lock_file.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as the pg_ctl of a worker that was killed
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        arguments = ["start", "-W", "-s", "-D", str(server.data_dir), "-l", str(server.log_file)]
        await asyncio.to_thread(runtime.run, "pg_ctl", arguments, pass_fds=[lock.fileno()])
    await stopping
    assert (await local.observe(spec.id)).presence is Presence.STOPPED
    assert "immediate shutdown" not in server.log_file.read_text()
