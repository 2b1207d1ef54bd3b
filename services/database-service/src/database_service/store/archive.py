"""A backup as one file: a ZIP archive of PostgreSQL's own dump and, behind it, the manifest with its checksum.

A ZIP has its list of contents at its end, so one that was cut off is known at once; and any unzip opens it. All calls block.
"""

import contextlib
import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from database_service.domain.backups import BackupUnusable, Manifest

DUMP, MANIFEST = "control.dump", "manifest.json"
_CHUNK = 1024 * 1024


class Sink(Protocol):
    def write(self, data: bytes, /) -> int: ...


@dataclass(slots=True)
class Measured:
    """What goes through it, counted and summed up."""

    into: Sink
    size: int
    digest: "hashlib._Hash"

    @classmethod
    def on(cls, into: Sink) -> "Measured":
        return cls(into, 0, hashlib.sha256())

    def write(self, data: bytes, /) -> int:
        self.size += len(data)
        self.digest.update(data)
        return self.into.write(data)


def pack(into: IO[bytes], dump: Callable[[Sink], None], manifest: Callable[[Measured], Manifest]) -> Manifest:
    """Write what `dump` writes, then what `manifest` says of it. The stream need not be one that can be sought in."""
    with zipfile.ZipFile(into, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(DUMP, "w", force_zip64=True) as member:
            measured = Measured.on(member)
            dump(measured)
        told = manifest(measured)
        archive.writestr(MANIFEST, told.text())
    return told


def read_manifest(path: Path) -> Manifest:
    """What the backup says of itself. BackupUnusable where it is none, or was cut off."""
    with _opened(path) as archive:
        return Manifest.parse(archive.read(MANIFEST).decode())


@contextlib.contextmanager
def unpacked(path: Path, manifest: Manifest) -> Iterator[Path]:
    """The dump as a file of its own, compared with its checksum. BackupUnusable where it is not the one."""
    with tempfile.TemporaryDirectory(prefix="dbs-restore-") as folder:
        dump = Path(folder) / DUMP
        with _opened(path) as archive, archive.open(DUMP) as member, dump.open("wb") as file:
            measured = Measured.on(file)
            shutil.copyfileobj(member, measured, _CHUNK)
        if (measured.size, measured.digest.hexdigest()) != (manifest.size, manifest.sha256):
            raise BackupUnusable(f"{path} is damaged: its dump is not the one its manifest tells of.")
        yield dump


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sorted(archive.namelist()) != [DUMP, MANIFEST]:
                raise BackupUnusable(f"{path} is no backup of a control plane.")
            yield archive
    except (zipfile.BadZipFile, EOFError, UnicodeDecodeError) as e:
        raise BackupUnusable(f"{path} is no backup, or it is damaged or cut off.") from e
