"""Dumps that workers left when they were killed."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from database_service.deps import Deps
from database_service.domain.operations import Operation
from database_service.store import operations


async def clear_dumps(deps: Deps, ours: Operation | None = None) -> None:
    """Those of operations that are over go, and those of earlier attempts of `ours`. What another worker is at stays."""
    await asyncio.to_thread(deps.move_dir.mkdir, mode=0o700, parents=True, exist_ok=True)
    left = {folder: operation_id for folder in deps.move_dir.iterdir() if (operation_id := _operation_of(folder))}
    async with deps.db.connection() as conn:
        at_work = await operations.unfinished(conn, list(left.values()))
    done = [folder for folder, of in left.items() if of not in at_work or (ours and of == ours.id)]
    await asyncio.to_thread(_remove, done)


def _operation_of(folder: Path) -> UUID | None:
    try:
        return UUID(folder.name[:36])
    except ValueError:
        return None


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
