"""What is left of a system whose harness was killed: its processes, its small disk, its folder."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from e2e.conftest import processes_of

PATIENCE_S = 10
GENTLY = (signal.SIGCONT, signal.SIGQUIT)
"""What was frozen hears nothing; SIGQUIT lets PostgreSQL free its shared memory."""


def clear(folder: Path) -> list[str]:
    """End all that has to do with the folder, and take its disks away; the command lines of what had to be ended."""
    ended = list(processes_of(folder).values())
    for numbers in (GENTLY, (signal.SIGKILL,)):
        until = time.monotonic() + PATIENCE_S
        while (left := processes_of(folder)) and time.monotonic() < until:
            for pid in left:
                _send(pid, numbers)
            time.sleep(0.2)
    for disk in _disks(folder):
        subprocess.run(["umount", "--lazy", disk], check=False)
    return ended


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _send(pid: int, numbers: tuple[signal.Signals, ...]) -> None:
    with suppress(ProcessLookupError):
        for number in numbers:
            os.kill(pid, number)


def _disks(folder: Path) -> list[str]:
    mounted = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    return [where for where in mounted if where.startswith(f"{folder}/")]
