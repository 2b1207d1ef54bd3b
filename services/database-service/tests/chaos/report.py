"""What a run was, as a page of the manual and as words for a terminal."""

import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from chaos.adversary import Done
from chaos.run import Outcome

TEMPLATE = """\
# The promises, tried by force

The system of `dbs up`, with a second worker, was used by {clients} clients while an adversary killed, froze, cut off and
starved its parts. When it was over the system was left alone, and what clients had been told was compared with rows,
servers and processes. [How it is done](chaos.md), and how to do it again:

```sh
{command}
```

| | |
|---|---|
| when | {when} |
| commit | {commit} |
| seed | {seed} |
| how long | {seconds:.0f} s of faults, {took:.0f} s in all |
| faults | {faults} |
| verdict | **{verdict}** |

{complaints}## Faults, and how soon what they hit worked again

Seconds from the end of a fault until its target served again; other faults may have been going on meanwhile. A killed
worker or beat counts as back when its process is; nobody waits for them.

{by_kind}

{missing}## What clients were told

{by_verb}

## What was compared in the end

{counted}

Nothing was in progress {quiet:.1f} s after the last client had its last answer.
"""


def page(outcome: Outcome, command: str) -> str:
    plan, verdict = outcome.plan, outcome.verdict
    return TEMPLATE.format(
        clients=plan.clients,
        command=command,
        when=datetime.now(UTC).isoformat(sep=" ", timespec="minutes"),
        commit=_commit(),
        seed=plan.seed,
        seconds=plan.seconds,
        took=outcome.took_s,
        faults=_faults(outcome.done),
        verdict="every promise was kept" if verdict.sound else f"{len(verdict.complaints)} complaints",
        complaints="".join(f"- {what}\n" for what in verdict.complaints) + ("\n" if verdict.complaints else ""),
        by_kind=_by_kind(outcome.done),
        missing=_missing(outcome.done),
        by_verb=_by_verb(outcome.answers),
        counted=_counted(verdict.counted),
        quiet=verdict.quiet_s,
    )


def _commit() -> str:
    here = Path(__file__).parent
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def _faults(done: Sequence[Done]) -> str:
    made = [one for one in done if one.why_not is None]
    return f"{len(made)} of {len(done)}; the others found nothing to hit" if len(made) < len(done) else str(len(made))


def _by_kind(done: Iterable[Done]) -> str:
    grouped: dict[tuple[str, str], list[Done]] = defaultdict(list)
    for one in done:
        if one.why_not is None:
            grouped[one.fault.kind, one.fault.target].append(one)
    rows = [
        [kind, target, len(made), *_times([one.recovered_s for one in made])]
        for (kind, target), made in sorted(grouped.items())
    ]
    return _table(["fault", "of", "times", "median s", "longest s", "not within a minute"], rows)


def _times(recovered: Sequence[float | None]) -> tuple[str, str, int]:
    known = [seconds for seconds in recovered if seconds is not None]
    if not known:
        return "–", "–", len(recovered)
    return f"{median(known):.1f}", f"{max(known):.1f}", len(recovered) - len(known)


def _missing(done: Iterable[Done]) -> str:
    reasons = Counter((one.fault.kind.value, one.why_not) for one in done if one.why_not)
    if not reasons:
        return ""
    rows = [[kind, why, number] for (kind, why), number in sorted(reasons.items())]
    return _table(["not made", "because", "times"], rows) + "\n\n"


def _by_verb(answers: Mapping[tuple[str, str], int]) -> str:
    verbs: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for (verb, answer), number in answers.items():
        verbs[verb].append((number, answer))
    rows = [
        [
            verb,
            sum(number for number, _ in told),
            ", ".join(f"{number} × {what}" for number, what in sorted(told, reverse=True)),
        ]
        for verb, told in sorted(verbs.items())
    ]
    return _table(["verb", "times", "answers"], rows)


def _counted(counted: Mapping[str, int]) -> str:
    return _table(["what", "number"], [[what, number] for what, number in sorted(counted.items())])


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
