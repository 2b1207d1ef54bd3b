"""Report: what was measured, on what, against what; printed, and kept as JSON with its date."""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from operator import ge, le
from pathlib import Path
from typing import Any, Literal

import psutil
import uvloop

from bench.figures import Series
from bench.system import REPOSITORY, System, running

RESULTS = REPOSITORY / "bench" / "results"
SUMMARY = "README.md"
PACKAGES = ("asyncpg", "fastapi", "pydantic", "uvicorn", "uvloop", "httptools", "celery")
_HOLDS = {"<=": le, ">=": ge}


@dataclass(frozen=True, slots=True)
class Options:
    """`quick` takes tiny sizes, for the test that this still runs; its figures mean nothing."""

    quick: bool
    results: Path

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Target:
    what: str
    bound: Literal["<=", ">="]
    wanted: float
    got: float
    unit: str = "x"

    @property
    def reached(self) -> bool:
        return bool(_HOLDS[self.bound](self.got, self.wanted))

    def told(self) -> dict[str, object]:
        return {**asdict(self), "reached": self.reached}


@dataclass(slots=True)
class Report:
    name: str
    options: Options
    system: System
    notes: list[str] = field(default_factory=list)
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    ratios: dict[str, Mapping[str, float]] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)
    _began: datetime = field(default_factory=lambda: datetime.now(UTC))
    _load: float = field(default_factory=lambda: os.getloadavg()[0])

    def series(self, what: str, series: Series, **more: object) -> None:
        """`more` are sizes and concurrency."""
        self.measured[what] = {**series.told(), **more}

    def all_of(self, measured: Mapping[str, Series], **more: object) -> None:
        for what, series in measured.items():
            self.series(what, series, **more)

    def ratio(self, what: str, ratio: Mapping[str, float]) -> float:
        """Keep it, and give its median."""
        self.ratios[what] = ratio
        return ratio["median"]

    def target(self, what: str, bound: Literal["<=", ">="], wanted: float, got: float, unit: str = "x") -> None:
        self.targets.append(Target(what, bound, wanted, round(got, 3), unit))

    def note(self, text: str) -> None:
        self.notes.append(text)

    # -- telling ------------------------------------------------------------------------------------------------------

    def told(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "command": shlex.join(["python", "-m", f"bench.{self.name}", *sys.argv[1:]]),
            "began": self._began.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - self._began).total_seconds(), 1),
            "quick": self.options.quick,
            "commit": _commit(),
            "versions": {
                "python": platform.python_version(),
                "postgresql": self.system.runtime.version,
                **{package: version(package) for package in PACKAGES},
            },
            "machine": {
                **_machine(self.system.home),
                "load_average": {"before": round(self._load, 2), "after": round(os.getloadavg()[0], 2)},
            },
            "notes": self.notes,
            "measured": self.measured,
            "ratios": self.ratios,
            "targets": [target.told() for target in self.targets],
        }

    def finish(self) -> None:
        """Print it, write it down, and bring the summary up to date."""
        told = self.told()
        print(_text(told))
        self.options.results.mkdir(parents=True, exist_ok=True)
        path = self.options.results / f"{self._began:%Y-%m-%d}-{self.name}.json"
        path.write_text(json.dumps(told, indent=1) + "\n")
        (self.options.results / SUMMARY).write_text(_summary(self.options.results))
        print(f"\nwritten to {path}")


def carry_out(bench: Callable[[System, Options], Coroutine[Any, Any, None]], about: str | None) -> None:
    """A benchmark as a program: told its options, in a system of its own."""
    given = options(about)
    with running() as system:
        uvloop.run(bench(system, given))


def options(about: str | None) -> Options:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, not how fast")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    given = parser.parse_args()
    return Options(given.quick, given.results)


def _commit() -> str:
    """The commit, with a + where the tree has changes that are not in it."""
    git = ("git", "-C", str(REPOSITORY))
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True).stdout
        dirty = subprocess.run(
            [*git, "status", "--porcelain", "-uno", "--", "services/database-service/src"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.strip() + ("+" if dirty else "")


def _machine(home: Path) -> dict[str, object]:
    mounts = (m for m in psutil.disk_partitions(all=True) if home.is_relative_to(m.mountpoint))
    disk = max(mounts, key=lambda m: len(m.mountpoint), default=None)
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "memory_gb": round(psutil.virtual_memory().total / 1024**3, 1),
        "kernel": platform.release(),
        "file_system": disk.fstype if disk else "unknown",
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _text(told: Mapping[str, Any]) -> str:
    return "\n".join([*_head(told), "", *_table(told), "", *_verdicts(told)])


def _head(told: Mapping[str, Any]) -> list[str]:
    return [
        *(f"{key}: {told[key]}" for key in ("command", "commit", "began", "seconds", "versions", "machine")),
        *(f"note: {note}" for note in told["notes"]),
    ]


def _table(told: Mapping[str, Any]) -> list[str]:
    lines = [f"{'measured':<58} {'median':>10} {'p95':>10} {'p99':>10} {'per s':>9}  medians of rounds"]
    for what, figures in told["measured"].items():
        low, high = figures["median_ms_of_rounds"]
        lines.append(
            f"{what:<58} {figures['median_ms']:>7} ms {figures['p95_ms']:>7} ms {figures['p99_ms']:>7} ms "
            f"{figures['per_second']:>9}  {low} … {high}{_size(figures)}"
        )
    for what, ratio in told["ratios"].items():
        lines.append(f"{what:<58} {ratio['median']:>8} x  rounds {ratio['lowest']} … {ratio['highest']}")
    return lines


def _size(figures: Mapping[str, Any]) -> str:
    """Where answers have one."""
    return f"  {figures['bytes'] / 1000:.1f} kB, {figures['bytes_sent'] / 1000:.1f} sent" if "bytes" in figures else ""


def _verdicts(told: Mapping[str, Any]) -> list[str]:
    return [
        f"{_mark(t)}  {t['what']}: {t['got']} {t['unit']} (target {t['bound']} {t['wanted']})" for t in told["targets"]
    ]


def _mark(target: Mapping[str, Any]) -> str:
    return "reached" if target["reached"] else "MISSED "


def _summary(results: Path) -> str:
    """The newest result of each benchmark, as a table."""
    newest: dict[str, dict[str, Any]] = {}
    for path in sorted(results.glob("*.json")):
        told = json.loads(path.read_text())
        newest[told["name"]] = told
    lines = [
        "# Newest results",
        "",
        "Written by the benchmarks; the JSON beside it has every figure, its spread, versions and machine.",
        "",
        "| benchmark | what | target | got | reached |",
        "|---|---|---|---|---|",
    ]
    for name, told in newest.items():
        lines += [_row(name, target) for target in told["targets"]]
    lines += ["", *(_source(told) for told in newest.values())]
    return "\n".join(lines) + "\n"


def _row(name: str, target: Mapping[str, Any]) -> str:
    unit = str(target["unit"])
    said = "yes" if target["reached"] else "**no**"
    return (
        f"| {name} | {target['what']} | {target['bound']} {target['wanted']} {unit} | {target['got']} {unit} | {said} |"
    )


def _source(told: Mapping[str, Any]) -> str:
    load = told["machine"]["load_average"]
    return (
        f"- `{told['command']}` at {told['commit']}, {told['began']}, "
        f"load average {load['before']} before and {load['after']} after"
    )
