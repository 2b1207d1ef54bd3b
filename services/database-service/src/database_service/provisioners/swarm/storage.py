"""Storage: the place of one server on storage that all nodes share, as the worker that has it mounted sees it.

<root>/<server id>/server.id       whose it is; written before any container may start there
                   postgres.lock   held by the server for its life (see infrastructure/images/postgres)
                   made            there was data
                   data/           PGDATA; belongs to another account, and is never looked into
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.ids import ServerId
from database_service.provisioners.runtime import fsync_directory, write_whole

READABLE = 0o755


@dataclass(frozen=True, slots=True)
class StoragePlace:
    """Looking changes nothing. What storage refuses is an OSError."""

    root: Path
    id: ServerId

    @property
    def directory(self) -> Path:
        return self.root / str(self.id)

    @property
    def _owner(self) -> Path:
        return self.directory / "server.id"

    def is_there(self) -> bool:
        return self.directory.exists()

    def has_data(self) -> bool:
        """Whether any server ever began to make data there."""
        return self.is_there() and any(path not in self._kept_to_the_end() for path in self.directory.iterdir())

    def is_labelled(self) -> bool:
        """Whether it says itself whose it is; the copy of another's place says the other's."""
        try:
            return self._owner.read_text().strip() == str(self.id)
        except FileNotFoundError:
            return False

    def was_made(self) -> bool:
        return (self.directory / "made").exists()

    def make(self) -> None:
        """Have it, and say whose it is. ProvisioningFailed where the storage is not there or holds somebody else's."""
        if not self.root.is_dir():
            raise ProvisioningFailed(
                f"The shared storage {self.root} is not there: is it mounted where the worker runs?"
            )
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(READABLE)
        if not self._owner.exists():
            if self.has_data():
                raise ProvisioningFailed(f"{self.directory} holds data, but no server.id says whose; it is left alone.")
            write_whole(self._owner, f"{self.id}\n")
            fsync_directory(self.root)

    def clear_away(self) -> None:
        """Remove what is left when its data is erased."""
        for path in self._kept_to_the_end():
            path.unlink(missing_ok=True)
        if self.is_there():
            self.directory.rmdir()

    def _kept_to_the_end(self) -> tuple[Path, ...]:
        return self._owner, self.directory / "postgres.lock"


def places_in(root: Path) -> Iterator[StoragePlace]:
    """All servers' places there, whether a row knows them or not."""
    for path in sorted(root.iterdir()):
        if is_server_id(path.name) and path.is_dir():
            yield StoragePlace(root, ServerId(UUID(path.name)))


def is_server_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
