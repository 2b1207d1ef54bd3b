"""Storage: the place of one server on storage that all nodes share, as the worker that has it mounted sees it.

<root>/<server id>/server.id       whose it is: the server's id and, below it, the control plane's name; written before any
                                   container may start there
                   postgres.lock   held by the server for its life (see infrastructure/images/postgres)
                   made            there was data
                   pgdata/         PGDATA; belongs to another account, and is never looked into
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.ids import ServerId
from database_service.files import fsync_directory, write_whole

OWNER = "server.id"
READABLE = 0o755


@dataclass(frozen=True, slots=True)
class StoragePlace:
    """Looking changes nothing. What storage refuses is an OSError."""

    root: Path
    plane: str
    id: ServerId

    @property
    def directory(self) -> Path:
        return self.root / str(self.id)

    @property
    def _owner(self) -> Path:
        return self.directory / OWNER

    def is_there(self) -> bool:
        return self.directory.exists()

    def has_data(self) -> bool:
        """Whether any server ever began to make data there."""
        return self.is_there() and any(not _is_ours(path.name) for path in self.directory.iterdir())

    def is_labelled(self) -> bool:
        """Whether it says itself that it is this control plane's: the copy of another's place says the other's. An empty one
        is what a removal that was cut off left."""
        try:
            return self._owner.read_text() == self._label
        except FileNotFoundError:
            return not any(self.directory.iterdir())

    def make(self) -> None:
        """Have it, and say whose it is. ProvisioningFailed where the storage is not there or holds somebody else's."""
        self.require_storage()
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(READABLE)
        if self._owner.exists():
            return
        if self.has_data():
            raise ProvisioningFailed(f"{self.directory} holds data, but no {OWNER} says whose; it is left alone.")
        write_whole(self._owner, self._label)
        fsync_directory(self.root)

    def require_storage(self) -> None:
        """ProvisioningFailed where its root is not there: what is in it is unknown, and not gone."""
        if not self.root.is_dir():
            raise ProvisioningFailed(
                f"The shared storage {self.root} is not there: is it mounted where the worker runs?"
            )

    def clear_away(self) -> None:
        """Remove what is left when its data is erased; what says whose it is goes last."""
        if not self.is_there():
            return
        for path in sorted(self.directory.iterdir(), key=lambda path: path.name == OWNER):
            if _is_ours(path.name):
                path.unlink(missing_ok=True)
        self.directory.rmdir()

    @property
    def _label(self) -> str:
        return f"{self.id}\n{self.plane}\n"


def _is_ours(name: str) -> bool:
    """What is there before and after any data, also what a worker that was killed while it wrote left."""
    return name in (OWNER, "postgres.lock") or name.startswith(f".{OWNER}-")


def places_in(root: Path, plane: str) -> Iterator[StoragePlace]:
    """All servers' places there, whether a row knows them or not."""
    for path in sorted(root.iterdir()):
        if is_server_id(path.name) and path.is_dir():
            yield StoragePlace(root, plane, ServerId(UUID(path.name)))


def is_server_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
