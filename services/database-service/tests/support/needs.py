"""What a machine may lack: its tests are skipped there with one line that says so, and fail where a skip would hide it."""

import os
import shutil
from collections.abc import Iterable
from typing import NoReturn

import pytest

INSIST = "CI_REQUIRES_DOCKER"
"""Set to 1 by `.ci/run`: whatever is missing then is a failure."""


def without(reason: str) -> NoReturn:
    """Go no further with this test, for this reason."""
    if os.environ.get(INSIST) == "1":
        pytest.fail(f"{reason} ({INSIST}=1: this may not be skipped)", pytrace=False)
    pytest.skip(reason)


def not_installed(programs: Iterable[str]) -> list[str]:
    return [program for program in programs if shutil.which(program) is None]
