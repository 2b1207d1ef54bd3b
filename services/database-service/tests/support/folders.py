"""Folders for what servers read and write."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108  each test makes a folder of its own in it
ENOUGH_BYTES = 4 * 1024**3


def _root() -> Path:
    """In memory where there is room: servers that wait for a disk at each commit are most of the suite's time, and no test is
    about what a disk keeps."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ENOUGH_BYTES
    return MEMORY if roomy else Path("/tmp")  # noqa: S108


@contextmanager
def open_folder(prefix: str = "dbs-test-") -> Iterator[Path]:
    """A folder that every account may enter, unlike pytest's own: as root, servers run as another account.

    In a folder of pytest's they would be put below /var/lib, and stay there.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_root()))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
