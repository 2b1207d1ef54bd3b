"""ProcessProvisioner: servers as processes of this machine. They outlive us; what is true is read from disk and /proc.

Everything that blocks runs in a thread. Files and locks: see `place`; the life of one PostgreSQL: see `postmaster`.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.ids import ServerId
from database_service.domain.servers import Address, Found, Image, Presence, Seen, ServerSpec
from database_service.provisioners.place import Hands, Identity, Place, alone
from database_service.provisioners.ports import PORTS, candidates
from database_service.provisioners.postmaster import Running
from database_service.provisioners.runtime import PostgresRuntime

HOST = "127.0.0.1"
CLONE_SINCE = 18


class ProcessProvisioner:
    """PostgreSQL servers below `home`, one directory each; `home` exists and is one of `runtime.reachable_home`."""

    def __init__(self, runtime: PostgresRuntime, home: Path, hands: Hands | None = None, ports: range = PORTS) -> None:
        self._runtime = runtime
        self._home = home
        self._hands = hands or Hands(runtime)
        self._ports = ports

    async def ensure(self, spec: ServerSpec) -> None:
        await asyncio.to_thread(self._ensure, spec)

    async def observe(self, server_id: ServerId) -> Seen:
        return await asyncio.to_thread(self._observe, Place(self._home, server_id))

    async def remove(self, server_id: ServerId, *, keep_data: bool) -> None:
        await asyncio.to_thread(self._remove, Place(self._home, server_id), keep_data)

    async def differences(self, spec: ServerSpec) -> Sequence[str]:
        return await asyncio.to_thread(self._differences, spec)

    async def look_up(self, image: str) -> Image:
        raise ProvisioningFailed("Servers that are processes of this machine run its own programs, not images.")

    async def remember(self, server_id: ServerId, text: str) -> None:
        await asyncio.to_thread(self._remember, Place(self._home, server_id), text)

    async def list_ours(self) -> Sequence[Found]:
        return await asyncio.to_thread(self._list_ours)

    async def stop_all(self) -> None:
        """Stop every server at the same time; data stays. The first failure is raised when all have been tried."""
        stops = (self.remove(place.id, keep_data=True) for place in await asyncio.to_thread(self._places))
        for outcome in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    # -- ensure -------------------------------------------------------------------------------------------------------

    def _ensure(self, spec: ServerSpec) -> None:
        place = Place(self._home, spec.id)
        with _plainly(spec.name), self._alone_with(place):
            if place.grave.exists():
                raise ProvisioningFailed(f"The server {spec.name} is being removed; it cannot be started again.")
            self._hands.make_room(place)
            identity = self._with_data(place, spec, self._identified(place, spec))
            if self._running(place) and self._differing(place, spec, identity):
                self._hands.stop(place)
            if self._running(place) is None:
                self._start(place, spec, identity)

    def _identified(self, place: Place, spec: ServerSpec) -> Identity:
        """Who it is; decided once, and written down before anything is named after it."""
        known = place.identity()
        if known:
            return known
        if place.data_version() is not None:
            raise ProvisioningFailed(f"{place.data_dir} holds data, but no identity file says whose; it is left alone.")
        if spec.made_before:
            raise ProvisioningFailed(_never_empty(spec, place))
        return self._settle(place, Identity(spec.id, spec.name, port=0))

    def _with_data(self, place: Place, spec: ServerSpec, identity: Identity) -> Identity:
        version = place.data_version()
        if version is None and identity.made:
            raise ProvisioningFailed(_never_empty(spec, place))
        if version is None:
            self._hands.make_data(place, spec)
        elif version != str(self._runtime.major):
            raise ProvisioningFailed(
                f"The data of server {spec.name} was made by PostgreSQL {version}, which PostgreSQL "
                f"{self._runtime.major} cannot run."
            )
        if identity.made:
            return identity
        made = replace(identity, made=True)
        self._hands.write_identity(place, made)
        return made

    def _start(self, place: Place, spec: ServerSpec, identity: Identity) -> None:
        if not _is_free(identity.port):
            identity = self._settle(place, identity)
        self._hands.write_settings(place, self._settings(spec, identity.port))
        self._hands.start(place)

    # -- differences --------------------------------------------------------------------------------------------------

    def _differences(self, spec: ServerSpec) -> Sequence[str]:
        place = Place(self._home, spec.id)
        with _plainly(spec.name):
            identity = place.identity()
            return self._differing(place, spec, identity) if identity else ()

    def _differing(self, place: Place, spec: ServerSpec, identity: Identity) -> list[str]:
        has = self._hands.postmaster(place).configured()
        wanted = self._settings(spec, identity.port)
        return [
            f"{name} is {has.get(name, 'not set')} and should be {wanted.get(name, 'not set')}"
            for name in sorted({*has, *wanted})
            if has.get(name) != wanted.get(name)
        ]

    # -- memory -------------------------------------------------------------------------------------------------------

    def _remember(self, place: Place, text: str) -> None:
        if not place.directory.exists():
            return  # to lock it would leave a trace of it
        with _plainly(str(place.id)), self._alone_with(place):
            if place.directory.exists() and place.remembered() != text:
                self._hands.remember(place, text)

    # -- ports --------------------------------------------------------------------------------------------------------

    def _settle(self, place: Place, identity: Identity) -> Identity:
        """Give it a free port that no other server of ours remembers as its own."""
        with alone(self._home / ".ports.lock"):
            settled = replace(identity, port=self._free_port(place))
            self._hands.write_identity(place, settled)
        return settled

    def _free_port(self, place: Place) -> int:
        others = (_readable_identity(other) for other in self._places() if other.id != place.id)
        taken = {other.port for other in others if other}
        for port in candidates(place.id, self._ports):
            if port not in taken and _is_free(port):
                return port
        raise ProvisioningFailed(f"No port from {self._ports.start} to {self._ports.stop - 1} is free on {HOST}.")

    def _settings(self, spec: ServerSpec, port: int) -> Mapping[str, str]:
        ours = {
            "listen_addresses": HOST,
            "port": str(port),
            # The path of a socket may have 107 bytes; a home directory easily has more.
            "unix_socket_directories": "",
            "cluster_name": spec.name,
        }
        if self._runtime.major >= CLONE_SINCE:
            ours["file_copy_method"] = "clone"
        return {**spec.settings, **ours}

    # -- observe ------------------------------------------------------------------------------------------------------

    def _observe(self, place: Place) -> Seen:
        try:
            return self._look(place)
        except (OSError, ProvisioningFailed) as e:
            return Seen(Presence.UNKNOWN, why=f"it cannot be looked at: {_reason(e)}")

    def _look(self, place: Place) -> Seen:
        self._home.lstat()  # a home that is gone tells nothing about what was in it
        if place.grave.exists():
            return Seen(Presence.STOPPED, why="its removal is not finished")
        identity = place.identity()
        if identity is None and place.data_version() is None:
            return Seen(Presence.ABSENT)
        running = self._running(place)
        if running and identity:
            return Seen(Presence.RUNNING, Address(HOST, running.port or identity.port))
        return Seen(Presence.STOPPED, why=self._why_stopped(place, identity))

    def _why_stopped(self, place: Place, identity: Identity | None) -> str:
        if identity is None:
            return "its identity file is missing"
        if not identity.made:
            return "it was not made yet"
        if place.data_version() is None:
            return f"its data is not in {place.data_dir}"
        return f"its process is gone: {self._hands.postmaster(place).last_words()}"

    def _running(self, place: Place) -> Running | None:
        return self._hands.postmaster(place).look()

    def _list_ours(self) -> Sequence[Found]:
        try:
            self._home.lstat()  # a home that is gone tells nothing about what was in it
            return [self._found(place) for place in self._places()]
        except OSError as e:
            raise ProvisioningFailed(f"The servers in {self._home} cannot be listed: {_reason(e)}.") from e

    def _found(self, place: Place) -> Found:
        seen = self._observe(place)
        identity = _readable_identity(place)
        name = identity.name if identity else str(place.id)
        traces = tuple(f"{'directory' if path.is_dir() else 'file'} {path}" for path in place.traces())
        return Found(
            place.id, name, seen.presence, seen.address, traces, _is_labelled(place, identity), _readable_memory(place)
        )

    def _places(self) -> list[Place]:
        """All that have something here, whether a row knows them or not."""
        parents = (parent for parent in (self._home, self._home / ".removed") if parent.is_dir())
        names = {path.name for parent in parents for path in parent.iterdir()}
        return [Place(self._home, ServerId(UUID(name))) for name in sorted(names) if _is_uuid(name)]

    # -- remove -------------------------------------------------------------------------------------------------------

    def _remove(self, place: Place, keep_data: bool) -> None:
        if not place.traces():
            return
        with _plainly(str(place.id)), self._alone_with(place):
            if place.directory.exists():
                self._hands.stop(place)
            if not keep_data:
                self._clear_away(place)

    def _clear_away(self, place: Place) -> None:
        if place.directory.exists():
            self._hands.bury(place)
        if place.grave.exists():
            self._hands.delete(place)
        place.lock_file.unlink(missing_ok=True)

    def _alone_with(self, place: Place) -> contextlib.AbstractContextManager[None]:
        self._runtime.make_enterable(self._home)
        return alone(place.lock_file)


@contextlib.contextmanager
def _plainly(name: str) -> Iterator[None]:
    """What the operating system refuses (a full disk, a read-only directory, no memory), in one sentence."""
    try:
        yield
    except OSError as e:
        raise ProvisioningFailed(f"The server {name} cannot be handled: {_reason(e)}.") from e


def _never_empty(spec: ServerSpec, place: Place) -> str:
    return (
        f"The data of server {spec.name} is not in {place.data_dir}: is a disk not mounted? "
        "It is never replaced by an empty server."
    )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return str(error)


def _readable_identity(place: Place) -> Identity | None:
    """For those who look at all servers: one that cannot be read must not stop them."""
    try:
        return place.identity()
    except (OSError, ProvisioningFailed):
        return None


def _readable_memory(place: Place) -> str | None:
    """As above."""
    try:
        return place.remembered()
    except (OSError, UnicodeDecodeError):
        return None


def _is_labelled(place: Place, identity: Identity | None) -> bool:
    """A copy of a server's directory carries the label of another. What is in a grave, we put there."""
    if place.directory.exists():
        return identity is not None and identity.id == place.id
    return place.grave.exists()


def _is_free(port: int) -> bool:
    """Whether a server could listen there now; PostgreSQL sets SO_REUSEADDR too."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen()
        except OSError:
            return False
        return True


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
