"""What a stack is built on where nothing can be pulled: Debian's Python and Redis, and the wheels of the service."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from support.lab_images import CACHE, ROOT, SUITE, USELESS, scratch
from support.machines import Machine, run

BASE = "dbs-test/service-base:bookworm"
"""Stands for the public Python image, and for that of the broker: `redis-server` and `redis-cli` are on the PATH."""
PACKAGES = "python3,python3-venv,redis-server"
WHEELS = ROOT / ".cache" / "wheels"


def load_base(machine: Machine) -> None:
    """The base, on this machine's engine; made where no earlier run did, in about a minute.

    What is there stays: imported again it is another image to the engine, and what was built on it is built again.
    """
    if machine.docker("images", "--quiet", BASE):
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    kept = CACHE / f"service-base-{hashlib.sha256(repr((PACKAGES, USELESS)).encode()).hexdigest()[:12]}.tar"
    if not kept.exists():
        with scratch() as folder:
            run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(folder / "tree"))
            leave_out = [f"--exclude=./{path}/*" for path in USELESS]
            run("tar", f"--directory={folder / 'tree'}", *leave_out, f"--file={folder / 'base.tar'}", "--create", ".")
            (folder / "base.tar").rename(kept)
    machine.docker("import", str(kept), BASE)


def have_wheels() -> Path:
    """The folder with every wheel the image needs; what is there already is not fetched again."""
    subprocess.run(
        [ROOT / "requirements" / "wheels"],
        env={**os.environ, "PYTHON": sys.executable},
        check=True,
        capture_output=True,
    )
    return WHEELS
