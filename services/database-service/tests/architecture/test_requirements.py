"""What is locked is pinned and has hashes, and what looks it over says so when it could not."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.pages import REPOSITORY

FOLDER = REPOSITORY / "requirements"
LOCKED = sorted(FOLDER.glob("*.txt"))
faults = runpy.run_path(str(FOLDER / "pins.py"))["faults"]


@pytest.mark.parametrize("path", LOCKED, ids=lambda path: path.stem)
def test_every_locked_requirement_is_pinned_and_has_hashes(path: Path) -> None:
    assert list(faults(path.read_text())) == []
    assert path.with_suffix(".in").exists()


@pytest.mark.parametrize(
    "line",
    ["a>=1 --hash=sha256:" + "0" * 64, "a==1", "a==1 \\\n    --hash=md5:00", "a @ https://x/a.whl", "-r b.txt", "a"],
)
def test_what_is_not_pinned_or_has_no_hash_is_told(line: str) -> None:
    assert list(faults(line))


@pytest.mark.parametrize(("must_ask", "code"), [("0", 0), ("1", 1)])
def test_an_audit_that_could_ask_nobody_says_so(tmp_path: Path, must_ask: str, code: int) -> None:
    no_network = tmp_path / "python"
    no_network.write_text(f'#!/bin/sh\n[ "$1" != -c ] || exit 1\nexec {sys.executable} "$@"\n')
    no_network.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "PYTHON": str(no_network), "AUDIT_MUST_ASK": must_ask}
    assert shutil.which("sh")
    done = subprocess.run([FOLDER / "audit", tmp_path], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "WERE NOT LOOKED UP" in done.stderr) == (code, True), done.stderr
