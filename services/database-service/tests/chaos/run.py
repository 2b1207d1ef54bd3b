"""One run: a system, its clients, its adversary, and in the end the checker's verdict."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx

from chaos.adversary import Adversary, Done
from chaos.checker import Verdict, check
from chaos.clients import GROUP, RACES, Client
from chaos.memory import Journal, Race
from chaos.schedule import APART_S, faults
from chaos.system import Stage, System, running

FIRST_S = 180.0
"""Until the first pools serve: the adversary waits for a system that is whole."""
FINISH_S = 150.0
"""For clients to have answers to all they asked for, once faults are over."""
WHOLE = "SELECT count(*) FROM servers WHERE status = 'active' AND health_status = 'healthy'"

Work = asyncio.Future[list[None]]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a run depends on, apart from real time. `folder` is empty, and every account may enter it."""

    seed: int
    seconds: float
    folder: Path
    ports: tuple[int, int]
    clients: int = 32
    apart_s: float = APART_S
    stage: Stage = Stage()  # noqa: RUF009  it is frozen
    keep: Path | None = None
    """Where logs and rows are put if a promise was broken."""


@dataclass(frozen=True, slots=True)
class Outcome:
    plan: Plan
    verdict: Verdict
    done: Sequence[Done]
    answers: Counter[tuple[str, str]]
    took_s: float


async def run(plan: Plan, *, until_found: bool = False) -> Outcome:
    """`until_found` ends it with the first thing that cannot be."""
    began = time.monotonic()
    async with running(plan.folder, plan.stage, plan.ports) as system:
        await _until_whole(system, plan.stage.pools)
        adversary = Adversary(system, faults(plan.seed, plan.seconds, plan.apart_s))
        async with _working(plan, system) as (clients, races, work):
            await _rage(plan, adversary, clients[0].journal, until_found=until_found)
            verdict = _found(clients[0].journal) if until_found else None
            if verdict is None:
                await _finish(clients, work)
                verdict = await check(system, clients, races)
        if plan.keep and not verdict.sound:
            await asyncio.to_thread(system.keep, plan.keep)
    return Outcome(
        plan, verdict, sorted(adversary.done, key=lambda done: done.fault.number), clients[0].journal.answers,
        took_s=time.monotonic() - began,
    )  # fmt: skip


def _found(journal: Journal) -> Verdict | None:
    return Verdict(list(journal.complaints), 0, Counter()) if journal.complaints else None


async def _until_whole(system: System, pools: int) -> None:
    """Adversaries are let in when the first pools serve and have their spares."""
    conn = await asyncpg.connect(system.control_dsn)
    try:
        async with asyncio.timeout(FIRST_S):
            while await conn.fetchval(WHOLE) < pools:  # noqa: ASYNC110  nothing tells us
                await asyncio.sleep(0.1)
    finally:
        await conn.close()


@asynccontextmanager
async def _working(plan: Plan, system: System) -> AsyncIterator[tuple[list[Client], list[Race], Work]]:
    """Clients that work, each over connections of its own, until `_finish` tells them that it is over."""
    journal = Journal()
    races = {race.instance: race for group in range(plan.clients // GROUP + 1) for race in _races(group)}
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(plan.clients):
            http = httpx.AsyncClient(base_url=system.url, headers={"Authorization": f"Bearer {system.token}"})
            await stack.enter_async_context(http)
            clients.append(Client(number, plan.seed, http, journal, races))
        work = asyncio.gather(*(client.work() for client in clients))
        try:
            yield clients, list(races.values()), work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


def _races(group: int) -> list[Race]:
    return [Race(f"race-{group}-{number}") for number in range(RACES)]


async def _rage(plan: Plan, adversary: Adversary, journal: Journal, *, until_found: bool) -> None:
    """For the time of the plan; shorter where the first complaint is enough."""
    raging = asyncio.create_task(adversary.work())
    until = time.monotonic() + plan.seconds
    try:
        while time.monotonic() < until and not (until_found and journal.complaints) and not raging.done():  # noqa: ASYNC110  as above
            await asyncio.sleep(0.1)
        if not until_found:
            await raging
    finally:
        raging.cancel()
        await asyncio.gather(raging, return_exceptions=True)


async def _finish(clients: Sequence[Client], work: Work) -> None:
    for client in clients:
        client.over = True
    try:
        async with asyncio.timeout(FINISH_S):
            await work
            await asyncio.gather(*(client.finish() for client in clients))
    except TimeoutError:
        clients[0].journal.complain(f"not every client had its answers {FINISH_S:.0f} s after the last fault")
