"""A run in a folder of its own, with nothing left of it afterwards, whatever happens to the harness."""

import asyncio
from pathlib import Path

from chaos.guard import guarded
from chaos.run import Outcome, Plan, run
from chaos.system import Stage
from support.cluster import free_port
from support.folders import open_folder


def run_once(
    seed: int,
    seconds: float,
    *,
    clients: int,
    apart_s: float,
    stage: Stage,
    keep: Path | None = None,
    until_found: bool = False,
) -> Outcome:
    with open_folder("dbs-chaos-") as folder, guarded(folder):
        print(f"seed {seed} for {seconds:.0f} s in {folder}", flush=True)
        plan = Plan(seed, seconds, folder, (free_port(), free_port()), clients, apart_s, stage, keep)
        return asyncio.run(run(plan, until_found=until_found))
