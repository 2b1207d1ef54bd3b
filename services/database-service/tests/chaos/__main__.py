"""`make chaos`: one run, by its seed; it ends by itself and with 1 where a promise was broken."""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from chaos import bites
from chaos.once import run_once
from chaos.report import page
from chaos.run import Outcome
from chaos.schedule import APART_S, faults
from chaos.system import Stage


def main() -> int:
    asked = _asked()
    if asked.bites:
        return bites.main(asked.bites.split(",") if asked.bites != "all" else None, asked.minutes)
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1_000_000)
    seconds = asked.minutes * 60
    if asked.show:
        print("\n".join(str(fault) for fault in faults(seed, seconds, asked.apart)))
        return 0
    print(f"seed {seed}, {asked.minutes:g} minutes", flush=True)
    stage = Stage(pools=asked.pools, bug=asked.bug)
    outcome = run_once(seed, seconds, clients=asked.clients, apart_s=asked.apart, stage=stage, keep=asked.keep)
    command = f"make chaos SEED={seed} MINUTES={asked.minutes:g}"
    told = page(outcome, command)
    if asked.report:
        asked.report.write_text(told)
    print(told)
    if not outcome.verdict.sound:
        _tell_how_to_replay(outcome, command)
    return 0 if outcome.verdict.sound else 1


def _tell_how_to_replay(outcome: Outcome, command: str) -> None:
    print("Faults, as they were:", file=sys.stderr)
    for done in outcome.done:
        print(f"  {done.fault} → {done.hit} {done.why_not or ''}", file=sys.stderr)
    print("Broken:", *outcome.verdict.complaints, sep="\n  ", file=sys.stderr)
    print("Of these it is written:", *outcome.verdict.history, sep="\n  ", file=sys.stderr)
    print(
        f"Again: {command}  (the same verbs and faults; real time makes what meets what approximate)", file=sys.stderr
    )


def _asked(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="Without it, one is thrown.")
    parser.add_argument("--minutes", type=float, default=3, help="How long there are faults.")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--pools", type=int, default=3, help="How many there are to begin with.")
    parser.add_argument("--apart", type=float, default=APART_S, help="Seconds between two faults, on average.")
    parser.add_argument("--report", type=Path, help="Write the page there.")
    parser.add_argument("--keep", type=Path, help="Put logs and rows there where a promise was broken.")
    parser.add_argument("--bug", help="Plant one of chaos/bugs.")
    parser.add_argument("--bites", help="`all`, or names of bugs: has each found by some seed.")
    parser.add_argument("--show", action="store_true", help="Only show what the seed would do.")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
