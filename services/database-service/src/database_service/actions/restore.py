"""Restore the control plane from a backup: all of it or nothing, and in such a state that nothing newer can suffer by it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from database_service.domain.backups import BackupUnusable, Manifest, refuse
from database_service.store import archive, backups, restoring
from database_service.store.migrate import migrate, newest
from database_service.store.programs import reach


@dataclass(frozen=True, slots=True)
class Target:
    """Where to: a database that is empty, or whose name is `replace`, and the fingerprints of the ring that is used there."""

    dsn: str
    ring: Mapping[str, str]
    bin_dir: Path
    """Where pg_restore and psql are."""
    replace: str | None = None


async def restore(path: Path, target: Target, now: datetime) -> Manifest:
    """What was restored; its schema is the newest afterwards. Raises BackupUnusable with the reason, and has done nothing then."""
    manifest = await asyncio.to_thread(archive.read_manifest, path)
    refuse(manifest, target.ring, newest())
    await _refuse_room(target)
    await asyncio.to_thread(_replay, path, manifest, target, now)
    await migrate(target.dsn)
    return manifest


async def _refuse_room(target: Target) -> None:
    room = await backups.room(target.dsn)
    if target.replace not in (None, room.name):
        raise BackupUnusable(f"The database is called {room.name!r}, not {target.replace!r}.")
    if room.occupied and target.replace is None:
        raise BackupUnusable(
            f"The database {room.name!r} is not empty: there are rows in {', '.join(room.occupied)}. "
            f"To have them replaced: --replace {room.name}."
        )
    if room.company:
        raise BackupUnusable(f"{room.company} others are connected to the database: stop API and worker first.")


def _replay(path: Path, manifest: Manifest, target: Target, now: datetime) -> None:
    after = restoring.script(now, manifest.made_at)
    with archive.unpacked(path, manifest) as dump, reach(target.dsn, target.bin_dir) as programs:
        programs.replay(dump, f"{restoring.CLEAR};", after)
