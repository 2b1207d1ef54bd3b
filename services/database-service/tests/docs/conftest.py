"""A system as `make run` starts it, for the pages that are done beside one."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import READY, Stack, running
from support.cluster import free_port
from support.folders import open_folder


@pytest.fixture(scope="module")
def system() -> Iterator[Stack]:
    """Its folder is what the pages call the repository's: `.data` and `.venv` are in it."""
    with open_folder() as folder:
        (folder / ".venv").symlink_to(sys.prefix)
        with running(folder / ".data", free_port(), folder) as begun:
            begun.until(READY)
            yield begun


@pytest.fixture
def at_home(system: Stack) -> dict[str, str]:
    """The environment of a terminal in that folder."""
    return {
        "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(system.data.parent),
        "DATABASE_SERVICE_URL": system.url,
    }
