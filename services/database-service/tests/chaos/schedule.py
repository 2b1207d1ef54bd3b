"""What is done to the system and when: made of a seed and nothing else, before anything runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Kind(StrEnum):
    KILL = "kill"
    FREEZE = "freeze"
    CUT = "cut"
    SLOW = "slow"
    SILENCE = "silence"
    HALF_CLOSE = "half-close"
    FILL_DISK = "fill the disk"
    TURN_CLOCK = "turn the clock"
    FLUSH = "flush"
    ALL_AT_ONCE = "kill all at once"


PROCESSES = ("api", "worker", "worker-2", "beat", "valkey", "postgres", "pool")
"""`pool` is one of those there are then; `postgres` is the control plane's own."""
WIRES = (
    "clients-api",
    "api-postgres",
    "worker-postgres",
    "worker-2-postgres",
    "api-valkey",
    "worker-valkey",
    "worker-2-valkey",
    "beat-valkey",
    "pool",
)
CLOCKS = ("api", "worker", "worker-2")

WEIGHTS: Mapping[Kind, float] = {
    Kind.KILL: 30,
    Kind.FREEZE: 14,
    Kind.CUT: 16,
    Kind.SLOW: 12,
    Kind.SILENCE: 10,
    Kind.HALF_CLOSE: 6,
    Kind.FILL_DISK: 3,
    Kind.TURN_CLOCK: 5,
    Kind.FLUSH: 3,
    Kind.ALL_AT_ONCE: 1,
}
TARGETS: Mapping[Kind, tuple[str, ...]] = {
    Kind.KILL: PROCESSES,
    Kind.FREEZE: PROCESSES,
    Kind.CUT: WIRES,
    Kind.SLOW: WIRES,
    Kind.SILENCE: WIRES,
    Kind.HALF_CLOSE: WIRES,
    Kind.FILL_DISK: ("the pools' disk",),
    Kind.TURN_CLOCK: CLOCKS,
    Kind.FLUSH: ("valkey",),
    Kind.ALL_AT_ONCE: ("everything",),
}
LASTING: Mapping[Kind, tuple[float, float]] = {
    Kind.FREEZE: (0.3, 7),
    Kind.CUT: (0.3, 5),
    Kind.SLOW: (2, 8),
    Kind.SILENCE: (0.5, 7),
    Kind.FILL_DISK: (1, 4),
    Kind.TURN_CLOCK: (4, 12),
}
"""Seconds from and to; what is not here is over as soon as it is done."""
LONG_FREEZE, LONG_FREEZE_S = 0.12, (36, 42)
"""So often a worker is frozen for longer than its leases last: what it does when it wakes up must count for nothing."""
CLOCK_S = 75
"""Clocks go wrong by so much, either way: more than a lease, less than what answers promise."""
APART_S = 2.6
"""Between two faults, on average."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`at_s` and `lasts_s` in seconds; `chance` picks one pool of those there are, from 0 to 1, and says how far a clock goes."""

    number: int
    at_s: float
    kind: Kind
    target: str
    lasts_s: float
    chance: float

    def __str__(self) -> str:
        lasting = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"#{self.number} at {self.at_s:.1f} s: {self.kind} {self.target}{lasting}"


def faults(seed: int, seconds: float, apart_s: float = APART_S) -> list[Fault]:
    return list(_faults(Random(f"faults {seed}"), seconds, apart_s))


def _faults(dice: Random, seconds: float, apart_s: float) -> Iterator[Fault]:
    at_s, number = 0.0, 0
    while True:
        at_s, number = at_s + dice.uniform(0.3, 1.7) * apart_s, number + 1
        if at_s > seconds:
            return
        kind = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        target = dice.choice(TARGETS[kind])
        yield Fault(number, at_s, kind, target, _lasting(dice, kind, target), dice.random())


def _lasting(dice: Random, kind: Kind, target: str) -> float:
    if kind not in LASTING:
        return 0
    if kind is Kind.FREEZE and target.startswith("worker") and dice.random() < LONG_FREEZE:
        return dice.uniform(*LONG_FREEZE_S)
    return dice.uniform(*LASTING[kind])
