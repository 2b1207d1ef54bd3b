"""Folders for what servers read and write."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every account may enter, unlike pytest's own: as root, servers run as another account.

    In a folder of pytest's they would be put below /var/lib, and stay there.
    """
    folder = Path(tempfile.mkdtemp(prefix="dbs-test-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
