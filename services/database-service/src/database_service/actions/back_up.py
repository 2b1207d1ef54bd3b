"""Back up the control plane: everything it knows, of one moment, in one file that has no secret in clear in it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from database_service.domain.backups import BackupUnusable, Manifest
from database_service.domain.errors import ControlDatabaseUnavailable
from database_service.secretbox import SecretBox
from database_service.store import archive, backups
from database_service.store.archive import Measured
from database_service.store.backups import Moment
from database_service.store.programs import reach


@dataclass(frozen=True, slots=True)
class Source:
    """What is backed up: the database, the ring its secrets are sealed with, and settings that are no secrets."""

    dsn: str
    secrets: SecretBox
    settings: Mapping[str, str]
    program: str
    bin_dir: Path
    """Where pg_dump is."""


async def back_up(source: Source, into: IO[bytes], now: datetime) -> Manifest:
    """Write the whole backup. Services go on meanwhile. Raises BackupUnusable, ControlDatabaseUnavailable.

    Whoever has it where it is to stay says so with `note`.
    """
    async with backups.moment(source.dsn) as moment:
        if moment.revision == "base":
            raise BackupUnusable("The database has no schema of ours, so there is nothing to back up.")
        return await asyncio.to_thread(_pack, source, moment, into, now)


async def note(source: Source, manifest: Manifest) -> bool:
    """It is kept, so that nobody is told that there is none; False where that cannot be noted."""
    try:
        return await backups.note(source.dsn, manifest)
    except ControlDatabaseUnavailable:
        return False


def _pack(source: Source, moment: Moment, into: IO[bytes], now: datetime) -> Manifest:
    def manifest(dump: Measured) -> Manifest:
        return _manifest(source, moment, dump, now)

    with reach(source.dsn, source.bin_dir) as programs:
        return archive.pack(into, lambda sink: programs.dump(moment.snapshot, sink), manifest)


def _manifest(source: Source, moment: Moment, dump: Measured, now: datetime) -> Manifest:
    ring = source.secrets.fingerprints()
    return Manifest(
        made_at=now,
        program=source.program,
        revision=moment.revision,
        # What is sealed with a key that is no longer on the ring was lost before, or is of what has ended.
        keys={key: ring[key] for key in sorted(moment.keys & ring.keys())},
        rows=moment.rows,
        settings=source.settings,
        size=dump.size,
        sha256=dump.digest.hexdigest(),
    )
