"""ProcessWorkloads: workloads as processes of this machine. They outlive us; what is true is read from disk and from /proc.

As root, each runs as an account of its own, a number that nobody else has, so that none can read another's login. As
anybody else, all run as that user: that is for one's own machine. A workload's limits are its plan's only in a Swarm; here
nothing but the machine limits it.

Everything that blocks runs in a thread. Files and locks: see `places`; how one begins and ends: see `launch`, `sessions`.
"""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from instance_service.domain.errors import WorkloadFailed
from instance_service.domain.ids import InstanceId
from instance_service.domain.workloads import Address, Found, Presence, Seen, WorkloadSpec
from instance_service.workloads import handing, launch, sessions
from instance_service.workloads.apart import apart, still_wanted
from instance_service.workloads.interpreter import Interpreter
from instance_service.workloads.places import Identity, Life, Place, alone, places_in, write_whole

HOST = "127.0.0.1"
PORTS = range(20000, 20600)
"""Below those Linux gives to outgoing connections, and beside those that database-service gives to servers."""
FIRST_UID = 60578
"""The first account of a workload where we are root: 60578 and the 605 after it are nobody's, by systemd's table of ids."""
START_S = 30.0
"""How long a process that does not answer yet is called starting."""
HEALTH_S = 2.0
LAUNCH_S = 20.0
OK = 200
PATH = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a workload runs as."""

    uid: int
    gid: int

    @classmethod
    def of(cls, port: int) -> "Account":
        """Root gives each port's workload an account that has no name and owns nothing else."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        return cls(FIRST_UID + port - PORTS.start, FIRST_UID + port - PORTS.start)

    def owns(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


class ProcessWorkloads:
    """Workloads below `home`, a directory each. `command` is run where an instance asks for none; empty, the example."""

    runs_images: ClassVar[bool] = False

    def __init__(self, home: Path, command: Sequence[str] = ()) -> None:
        self._home = home.absolute()
        self._command = tuple(command)
        self._example: Interpreter | None = None

    async def ensure(self, spec: WorkloadSpec) -> None:
        """See the port. What runs otherwise is ended first: its address, and with it its port, stays."""
        await apart(self._ensure, spec)

    async def observe(self, instance_id: InstanceId) -> Seen:
        return await apart(self._observe, Place(self._home, instance_id))

    async def stop(self, instance_id: InstanceId) -> None:
        await apart(self._stop, Place(self._home, instance_id))

    async def remove(self, instance_id: InstanceId) -> None:
        await apart(self._remove, Place(self._home, instance_id))

    async def list_ours(self) -> Sequence[Found]:
        return await apart(self._list_ours)

    async def halt_all(self) -> None:
        """End every workload at the same time, so that each is started again when it is looked at next. The first failure is
        raised when all have been tried."""
        ends = (asyncio.to_thread(self._halt, place) for place in await asyncio.to_thread(self._places))
        for outcome in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    # -- ensure -------------------------------------------------------------------------------------------------------

    def _ensure(self, spec: WorkloadSpec) -> None:
        if spec.image is not None:
            raise WorkloadFailed("Workloads that are processes of this machine run a command, not an image.")
        place = Place(self._home, spec.id)
        with _plainly(), self._alone_with(place) as lock:
            identity = self._identified(place, spec)
            life = place.life()
            if life and life.lasts and life.version == spec.version:
                return
            if life:
                sessions.end(life)
            if not _is_free(identity.port):
                identity = self._settle(place, spec)
            self._start(place, spec, identity, lock)

    def _identified(self, place: Place, spec: WorkloadSpec) -> Identity:
        place.make()
        return place.identity() or self._settle(place, spec)

    def _settle(self, place: Place, spec: WorkloadSpec) -> Identity:
        """Give it a free port, and with it an account, that no other workload of ours remembers as its own."""
        with alone(self._home / ".ports.lock"):
            identity = Identity(spec.id, spec.name, self._free_port(place))
            place.write_identity(identity)
        return identity

    def _free_port(self, place: Place) -> int:
        others = (_readable_identity(other) for other in self._places() if other.id != place.id)
        taken = {other.port for other in others if other}
        for port in _candidates(place.id):
            if port not in taken and _is_free(port):
                return port
        raise WorkloadFailed(f"No port from {PORTS.start} to {PORTS.stop - 1} is free on {HOST}.")

    def _start(self, place: Place, spec: WorkloadSpec, identity: Identity, lock: int) -> None:
        account = Account.of(identity.port)
        self._furnish(place, spec, account)
        # Before it is begun, so that a start that is cut off is known; what is begun adds who it is by itself.
        write_whole(place.life_file, Life.of(spec).text())
        life = os.open(place.life_file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        log = place.opened_log()
        try:
            self._launch(place, spec, identity, account, (life, lock, log))
        finally:
            os.close(life)
            os.close(log)

    def _furnish(self, place: Place, spec: WorkloadSpec, account: Account) -> None:
        # As a container's: what is to stay belongs in the database.
        shutil.rmtree(place.own, ignore_errors=True)
        place.own.mkdir(mode=0o700)
        account.owns(place.own)
        for name, content in handing.files(spec.login, place.login).items():
            write_whole(place.login / name, content, account.uid, account.gid)

    def _launch(
        self, place: Place, spec: WorkloadSpec, identity: Identity, account: Account, files: tuple[int, int, int]
    ) -> None:
        life, lock, log = files
        words = [str(life), str(lock), str(account.uid), str(account.gid), *self._command_of(spec, account)]
        # Nothing of our own environment reaches it: that names the files with our tokens.
        base = {"PATH": PATH, "HOME": str(place.own), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
        # What the caller asked for is not our environment while we are root: LD_PRELOAD there would be root's.
        told = base | handing.environment(spec, place.login, HOST, identity.port)
        try:
            done = subprocess.run(  # noqa: S603  our own program; the command is a list of words, and no shell reads it
                [sys.executable, "-I", launch.__file__, *words],
                env=base,
                input=json.dumps(told),
                cwd=place.own,
                stdout=log,
                stderr=subprocess.PIPE,
                pass_fds=(life, lock),
                check=False,
                timeout=LAUNCH_S,
                text=True,
            )
        except subprocess.TimeoutExpired as e:
            raise WorkloadFailed(f"It could not be started within {LAUNCH_S:g} s.") from e
        if done.returncode != 0:
            place.life_file.unlink()
            raise WorkloadFailed(_cannot_run(words[4], account, done.stderr))

    def _command_of(self, spec: WorkloadSpec, account: Account) -> tuple[str, ...]:
        if command := spec.command or self._command:
            return command
        if self._example is None:
            with alone(self._home / ".example.lock"):
                self._example = Interpreter.for_account(account.uid, self._home)
        return self._example.command

    # -- observe ------------------------------------------------------------------------------------------------------

    def _observe(self, place: Place) -> Seen:
        try:
            return self._look(place)
        except (OSError, WorkloadFailed) as e:
            return Seen(Presence.UNKNOWN, detail=f"it cannot be looked at: {_reason(e)}")

    def _look(self, place: Place) -> Seen:
        if not place.directory.exists():
            return Seen(Presence.ABSENT)
        identity, life = place.identity(), place.life()
        if identity is None or life is None:
            return Seen(Presence.STOPPED)
        if not life.lasts:
            return Seen(Presence.STOPPED, detail=f"its process is gone: {place.last_words()}")
        address = Address(HOST, identity.port)
        complaint = _why_unwell(address, life.health_path)
        if complaint is None:
            return Seen(Presence.RUNNING, healthy=True, address=address, version=life.version)
        presence = Presence.STARTING if place.age_s() < START_S else Presence.RUNNING
        return Seen(presence, address=address, version=life.version, detail=complaint)

    def _list_ours(self) -> Sequence[Found]:
        try:
            return [self._found(place) for place in self._places()]
        except OSError as e:
            raise WorkloadFailed(f"The workloads in {self._home} cannot be listed: {_reason(e)}.") from e

    def _found(self, place: Place) -> Found:
        identity = _readable_identity(place)
        name = identity.name if identity else str(place.id)
        return Found(place.id, name, self._observe(place).presence, (f"directory {place.directory}",))

    def _places(self) -> list[Place]:
        return places_in(self._home) if self._home.exists() else []

    # -- stop and remove ----------------------------------------------------------------------------------------------

    def _stop(self, place: Place) -> None:
        if place.directory.exists():
            with _plainly(), self._alone_with(place):
                self._end(place)

    def _remove(self, place: Place) -> None:
        if place.directory.exists():
            with _plainly(), self._alone_with(place):
                self._end(place)
                place.clear_away()
        place.lock_file.unlink(missing_ok=True)

    def _halt(self, place: Place) -> None:
        with _plainly(), self._alone_with(place):
            if life := place.life():
                sessions.end(life)

    def _end(self, place: Place) -> None:
        if life := place.life():
            sessions.end(life)
        place.life_file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone_with(self, place: Place) -> Iterator[int]:
        self._home.mkdir(parents=True, exist_ok=True)
        with alone(place.lock_file) as lock:
            still_wanted()  # others may have had it for long
            yield lock


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """What the operating system refuses (a full disk, a read-only directory, no memory), in one sentence."""
    try:
        yield
    except OSError as e:
        raise WorkloadFailed(f"The workload cannot be handled: {_reason(e)}.") from e


def _cannot_run(program: str, account: Account, said: str) -> str:
    reason = said.strip().splitlines()[-1] if said.strip() else "it said nothing"
    told = f"The program {program} cannot be run: {reason}."
    if os.geteuid() == 0:
        told += f" It is run as an account of its own, {account.uid}, which has to be able to reach it."
    return told


def _why_unwell(address: Address, path: str) -> str | None:
    """None where its health path answers 200. What it answers otherwise is its own and is not repeated."""
    asking = http.client.HTTPConnection(address.host, address.port, timeout=HEALTH_S)
    try:
        asking.request("GET", path)
        status = asking.getresponse().status
    except (OSError, http.client.HTTPException):
        return f"it does not answer on {address.host}:{address.port}"
    finally:
        asking.close()
    return None if status == OK else f"it answers {status} on {path}"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return str(error).rstrip(".")


def _readable_identity(place: Place) -> Identity | None:
    """For those who look at all of them: one that cannot be read must not stop them."""
    try:
        return place.identity()
    except (OSError, WorkloadFailed):
        return None


def _candidates(instance_id: InstanceId) -> Iterator[int]:
    """All ports, each workload beginning elsewhere, so that few look at the same one."""
    first = instance_id.int % len(PORTS)
    yield from PORTS[first:]
    yield from PORTS[:first]


def _is_free(port: int) -> bool:
    """Whether a workload could listen there now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen()
        except OSError:
            return False
        return True
