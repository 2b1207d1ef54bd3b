"""A session: a workload's process and all that it has begun since. All calls block."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from instance_service.domain.errors import WorkloadFailed
from instance_service.workloads.launch import started
from instance_service.workloads.places import Life

ENDINGS = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
"""Asked, then forced; each with the seconds it is given."""
PAUSE_S = 0.01


def end(life: Life) -> None:
    """End all of it. Back when nothing of it runs; WorkloadFailed where something does not end, not even by force."""
    for number, patience_s in ENDINGS:
        told = set[int]()
        if _within(patience_s, lambda: _all_ended(life, number, told)):  # noqa: B023  called before the next turn
            return
    raise WorkloadFailed(f"Its processes {', '.join(map(str, members(life)))} do not end, not even by force.")


def members(life: Life) -> list[int]:
    """What of it lives. A process id is not given to anybody else while a session or a process bears it."""
    if life.pid is None or life.begun is None:
        return []
    leader = started(life.pid)
    if leader not in (None, life.begun):
        return []  # somebody else's by now, so nothing of ours is left
    boot = life.begun.partition(" ")[0]
    found = [pid for pid in _in_session(life.pid) if (started(pid) or "").startswith(boot)]
    return found or ([life.pid] if leader else [])


def _in_session(session: int) -> list[int]:
    """Empty where the system has no /proc: there a workload ends with its first process."""
    return [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _session_of(stat) == session]


def _session_of(stat: Path) -> int | None:
    try:
        _, _, _, session, *_ = stat.read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None  # it ended while we looked
    return int(session)


def _all_ended(life: Life, number: signal.Signals, told: set[int]) -> bool:
    """Signal each once; what it begins meanwhile is seen at the next look."""
    left = members(life)
    for pid in left:
        if pid not in told:
            told.add(pid)
            _send(pid, number)
    return not left


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended meanwhile: that was the wish
    except PermissionError as e:
        raise WorkloadFailed(f"Its process {pid} runs as somebody else and cannot be ended.") from e


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether it came to hold in that time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE_S)
    return True
