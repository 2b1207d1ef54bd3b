"""A process that does what a worker does, sweep after sweep, until it is killed. The DSN of its control database comes on its
standard input; it says `ready` before it begins."""

import asyncio
import sys
from pathlib import Path

from database_service.domain.secret import Secret
from database_service.reconcilers.sweep import sweep
from support.cluster import Cluster
from support.house import open_house
from support.two_pools import BRIEF

PAUSE_S = 0.02


async def main(dsn: str) -> None:
    no_tenants = Cluster("", 0, "", Secret(""), Path())
    async with open_house(dsn, no_tenants, BRIEF) as house:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            await sweep(house.deps)
            await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    asyncio.run(main(sys.stdin.readline().strip()))
