"""Begins a workload's process: `python -I launch.py LIFE LOCK UID GID COMMAND…`, in its folder.

Its environment comes as JSON on standard input, and is nobody's before the workload's account has it. It ends at once, and
the workload is nobody's child. LIFE and LOCK are numbers of open files: who the workload is stands in the first before it
runs, and until then the second is held, whatever happens meanwhile to whoever started this. It knows nothing else of ours,
so that it begins fast.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

LONGEST_COMPLAINT = 4096


def started(pid: int) -> str | None:
    """When this process began, in words that no other process of its number had or will have; None where there is none."""
    if not Path("/proc/self/stat").exists():
        return _told_by_ps(pid)
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if state in "ZX":
        return None  # dead, and only not yet waited for
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {fields[18]}"


def _told_by_ps(pid: int) -> str | None:
    asked = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(asked, check=False, capture_output=True, text=True).stdout.strip() or None  # noqa: S603  a number


def _begin(life: int, uid: int, gid: int, command: list[str], environment: Mapping[str, str]) -> None:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.write(life, f"{os.getpid()} {started(os.getpid())}\n".encode())
    os.fsync(life)
    os.dup2(1, 2)  # its complaints go where the rest goes; ours went to whoever waits for us
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the password
    if uid != os.geteuid():
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.execvpe(command[0], command, environment)  # noqa: S606  no shell: a list of words


def main(life: int, lock: int, uid: int, gid: int, command: list[str], environment: Mapping[str, str]) -> str:
    """What kept it from running; nothing once it runs: an exec that works closes the pipe, and the files."""
    os.set_inheritable(life, False)
    os.set_inheritable(lock, False)
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        return os.read(reading, LONGEST_COMPLAINT).decode()
    try:
        _begin(life, uid, gid, command, environment)
    except (OSError, ValueError) as e:  # ValueError: no system takes such a word or variable
        os.write(writing, (getattr(e, "strerror", None) or str(e)).encode())
    os._exit(127)


if __name__ == "__main__":
    life, lock, uid, gid = map(int, sys.argv[1:5])
    sys.exit(main(life, lock, uid, gid, sys.argv[5:], json.load(sys.stdin)) or None)
