"""Python imports this before anything else in the processes of a chaos run: what is changed in them, and nowhere else.

Always: plans' graces are seconds, and servers of one's own small, so that a run sees what takes days and gigabytes.
With CHAOS_CLOCK: the service's clock goes wrong by the seconds in that file. With CHAOS_BUG: one bug, planted to be found.
"""

import os
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import planted

from database_service.domain.plans import MIB, PLANS, DedicatedSize

GRACE = timedelta(seconds=45)
SMALL = DedicatedSize(cpu=1, memory_bytes=128 * MIB)
SEEN_S = 0.2


class Error:
    """By how much a clock is wrong: read from a file, as often as it may matter."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = timedelta()
        self._seen_at = 0.0

    def __call__(self) -> timedelta:
        if time.monotonic() - self._seen_at > SEEN_S:
            self._seen_at = time.monotonic()
            self._seen = timedelta(seconds=int(self._file.read_text() or "0"))
        return self._seen


def shorten_graces() -> None:
    for tier, plan in PLANS.items():
        PLANS[tier] = replace(plan, grace=GRACE, dedicated=SMALL if plan.dedicated else None)


def turn_clock(file: Path) -> None:
    from database_service import wiring

    right_now, error = wiring.utc_now, Error(file)
    wiring.utc_now = lambda: right_now() + error()


shorten_graces()
if clock := os.environ.get("CHAOS_CLOCK"):
    turn_clock(Path(clock))
if bug := os.environ.get("CHAOS_BUG"):
    planted.BUGS[bug]()
