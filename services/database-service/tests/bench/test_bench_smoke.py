"""Every benchmark still runs, and writes what readers of its results rely on. Nothing here is about time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[4]
FIELDS = {
    *("name", "command", "began", "seconds", "quick", "commit", "versions", "machine", "notes"),
    *("measured", "ratios", "targets"),
}
FIGURES = {
    *("rounds", "count", "median_ms", "p95_ms", "p99_ms", "median_ms_of_rounds", "per_second", "per_second_of_rounds"),
}


@pytest.mark.stack
@pytest.mark.parametrize("name", ["allocate", "scale", "ready", "pool", "move", "neighbours", "overload", "ui"])
def test_a_benchmark_runs_at_tiny_size_and_its_result_has_every_field(name: str, tmp_path: Path) -> None:
    run(name, tmp_path)


@pytest.mark.docker
@pytest.mark.usefixtures("swarm_lab")
def test_the_benchmark_of_a_swarm_runs_at_tiny_size(tmp_path: Path) -> None:
    run("swarm", tmp_path, PYTHONPATH=str(REPOSITORY / "services" / "database-service" / "tests"))


def run(name: str, tmp_path: Path, **environment: str) -> None:
    subprocess.run(
        [sys.executable, "-m", f"bench.{name}", "--quick", "--results", str(tmp_path)],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **environment},
        check=True,
        timeout=240,
    )

    [written] = tmp_path.glob(f"*-{name}.json")
    told = json.loads(written.read_text())
    assert told.keys() == FIELDS
    assert told["quick"] is True
    assert told["measured"]
    assert all(figures.keys() >= FIGURES for figures in told["measured"].values())
    assert told["targets"]
    assert all(target["reached"] in (True, False) for target in told["targets"])
    summary = (tmp_path / "README.md").read_text()
    assert all(target["what"] in summary for target in told["targets"])
