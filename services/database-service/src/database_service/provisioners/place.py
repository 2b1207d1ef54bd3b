"""Place: what one local server has on this disk, and Hands: everything that is ever done to it.

<home>/<server id>/identity.json    who it is, its port, whether its data was made; written before anything it names
                   row.json         what it was as a row, for who has lost the rows; its password is sealed
                   data/            PGDATA, owned by the account
                   log/postgres.log
                   postgres.lock    held by the server for its life
<home>/.<server id>.lock            held by whoever makes, starts or removes it
<home>/.removed/<server id>/        removed, deletion not finished
"""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.ids import ServerId
from database_service.domain.servers import ServerSpec
from database_service.files import fsync_directory, write_whole
from database_service.provisioners.postmaster import Postmaster
from database_service.provisioners.runtime import PostgresRuntime

IDENTITY_FORMAT = 1
LOCK_PATIENCE_S = 20.0
PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class Identity:
    """Who lives there. `made`: its data directory was made, so data that is missing is lost, never "not yet made"."""

    id: ServerId
    name: str
    port: int
    made: bool = False

    def text(self) -> str:
        return json.dumps(asdict(self) | {"id": str(self.id), "format": IDENTITY_FORMAT}, indent=1) + "\n"

    @classmethod
    def parse(cls, text: str) -> "Identity":
        """ValueError where it is damaged or of a format we do not know."""
        try:
            read = json.loads(text)
            if read["format"] != IDENTITY_FORMAT:
                raise ValueError("unknown format")
            return cls(ServerId(UUID(read["id"])), str(read["name"]), int(read["port"]), bool(read["made"]))
        except (KeyError, TypeError) as e:
            raise ValueError("not an identity") from e


@dataclass(frozen=True, slots=True)
class Place:
    """The paths of one server. Looking changes nothing."""

    home: Path
    id: ServerId

    @property
    def directory(self) -> Path:
        return self.home / str(self.id)

    @property
    def identity_file(self) -> Path:
        return self.directory / "identity.json"

    @property
    def memory_file(self) -> Path:
        return self.directory / "row.json"

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def lock_file(self) -> Path:
        return self.home / f".{self.id}.lock"

    @property
    def grave(self) -> Path:
        return self.home / ".removed" / str(self.id)

    def traces(self) -> list[Path]:
        """What there is of it; nothing once it is removed."""
        return [path for path in (self.directory, self.grave, self.lock_file) if path.exists()]

    def identity(self) -> Identity | None:
        """None where nobody moved in yet. ProvisioningFailed where its file says nothing we understand."""
        try:
            return Identity.parse(self.identity_file.read_text())
        except FileNotFoundError:
            return None
        except ValueError as e:
            raise ProvisioningFailed(f"{self.identity_file} is damaged; restore it before the server is used.") from e

    def remembered(self) -> str | None:
        """None where nothing was ever to be remembered."""
        try:
            return self.memory_file.read_text()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def data_version(self) -> str | None:
        """The major version its data was made by; None where there is no data (also: an empty mount point)."""
        try:
            return (self.data_dir / "PG_VERSION").read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None


@dataclass(frozen=True, slots=True)
class Hands:
    """Every outside effect on a local server, one method each; all may be repeated. Crash tests stop around each."""

    runtime: PostgresRuntime

    def postmaster(self, place: Place) -> Postmaster:
        return Postmaster.at(self.runtime, place.directory)

    def make_room(self, place: Place) -> None:
        self.postmaster(place).prepare()

    def write_identity(self, place: Place, identity: Identity) -> None:
        write_whole(place.identity_file, identity.text())

    def remember(self, place: Place, text: str) -> None:
        write_whole(place.memory_file, text)

    def make_data(self, place: Place, spec: ServerSpec) -> None:
        self.runtime.initdb(place.data_dir, spec.admin_user, spec.admin_password)

    def write_settings(self, place: Place, settings: Mapping[str, str]) -> None:
        self.postmaster(place).configure(settings)

    def start(self, place: Place) -> None:
        self.postmaster(place).start()

    def stop(self, place: Place) -> None:
        self.postmaster(place).stop()

    def bury(self, place: Place) -> None:
        """Out of its place in one step: from here on it is being removed, and nothing can start it."""
        self.runtime.make_enterable(place.grave.parent)
        place.directory.rename(place.grave)
        fsync_directory(place.home)

    def delete(self, place: Place) -> None:
        shutil.rmtree(place.grave)


@contextlib.contextmanager
def alone(lock_file: Path) -> Iterator[None]:
    """Nobody else, in any process, is in here for this file. ProvisioningFailed after LOCK_PATIENCE_S of waiting."""
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while (lock := _take(lock_file)) is None:
        if time.monotonic() > deadline:
            raise ProvisioningFailed(f"Another worker has been busy with {lock_file.stem} for long; try again later.")
        time.sleep(PAUSE_S)
    try:
        yield
    finally:
        os.close(lock)


def _take(lock_file: Path) -> int | None:
    """The lock; None while it is another's, or was on a file that the last holder deleted."""
    lock = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock_file.stat().st_ino == os.fstat(lock).st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None
