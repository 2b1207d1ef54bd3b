"""`make chaos-bites`: each planted bug is found by some seed within its time, or the harness is worth nothing."""

import time
from collections.abc import Sequence

from chaos.bugs.planted import BUGS
from chaos.once import run_once
from chaos.system import Stage

RUN_S = 100.0
CLIENTS, APART_S = 24, 2.0
"""Fewer clients: a bug is planted to be met, not to be searched for under load."""


def main(names: Sequence[str] | None, minutes: float) -> int:
    found = [_found(name, minutes * 60) for name in names or BUGS]
    return 0 if all(found) else 1


def _found(bug: str, within_s: float) -> bool:
    """Seeds from 1 on, until one finds it."""
    began, seed = time.monotonic(), 0
    while (left_s := within_s - (time.monotonic() - began)) > 0:
        seed += 1
        outcome = run_once(
            seed, min(RUN_S, left_s), clients=CLIENTS, apart_s=APART_S, stage=Stage(bug=bug), until_found=True
        )
        if not outcome.verdict.sound:
            took_s = time.monotonic() - began
            print(
                f"{bug}: found by seed {seed} after {took_s:.0f} s: {outcome.verdict.complaints[0][:160]}", flush=True
            )
            return True
    print(f"{bug}: not found by seeds 1 to {seed} in {within_s:.0f} s", flush=True)
    return False
