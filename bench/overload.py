"""What becomes of requests when four times as many come as can be served, and what a thousand idle long-polls cost.

A round is: one caller alone (unloaded); sixteen callers, each asking again when it is answered (what can be served); then four
times that rate from a process that does not wait for answers; and then one caller again, from the moment the flood ends.
Spares are rows; no worker runs. Requests are allocations, status and credentials by turns.
"""

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg
import psutil

from bench import rows
from bench.figures import Round, Series, percentile
from bench.flood import Flood, Washed, flood
from bench.report import Options, Report, carry_out
from bench.system import HOST, Http, System

CALLERS = 16
TIMES = 4
CONNECTIONS = 800
ACCEPTED = ("200",)
REFUSED = ("429", "503")
WINDOW_S = 1.0
ARRIVE_S = 0.01
"""From one idle caller to the next: that many at once would be a burst, and in part refused."""
CALM = 1.5
"""So much over the unloaded p99 still counts as the unloaded level: two quiet seconds differ by that."""


@dataclass(slots=True)
class Rounds:
    """What was seen, a list entry for each round."""

    unloaded: Series = field(default_factory=Series)
    served: Series = field(default_factory=Series)
    accepted: Series = field(default_factory=Series)
    refused: Series = field(default_factory=Series)
    recovery_s: list[float] = field(default_factory=list)
    offered: list[float] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    cpu_shares: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Course:
    """The rounds' way through instances that were not asked for yet."""

    api: Http
    known: int
    next_instance: int = 0

    async def wash(self, seconds: float, connections: int, per_second: float = 0) -> Washed:
        washed = await flood(
            Flood(self.api.port, seconds, connections, per_second, self.next_instance, self.known, self.api.headers)
        )
        self.next_instance += washed.allocated
        return washed


async def bench(system: System, given: Options) -> None:
    report = Report("overload", given, system)
    control, broker = system.control(), system.broker()
    dsn = await rows.control_database(control, "overload")
    await _fill(system, dsn, given.size(1200, 40))
    course = Course(system.api(dsn, broker), given.size(300, 3))
    await course.wash(given.size(4, 1), 4)  # the instances that are asked about, and everything warm
    seen = Rounds()
    for _ in range(given.size(3, 1)):
        await _round(course, seen, given)
    _tell(report, seen)
    await _idle(report, system, await rows.control_database(control, "idle"), broker, given.size(1000, 20))
    report.finish()


async def _fill(system: System, dsn: str, servers: int) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        made = await rows.add_servers(conn, system.box, servers)
        await rows.add_spares(conn, system.box, made, per_server=rows.POOL_SLOTS)
        await conn.execute("VACUUM ANALYZE")
    finally:
        await conn.close()


async def _round(course: Course, seen: Rounds, given: Options) -> None:
    alone = await course.wash(given.size(5, 1), 1)
    busy = await course.wash(given.size(5, 1), CALLERS)
    rate = len(_ms(busy, ACCEPTED)) / busy.seconds
    washed = await course.wash(given.size(30, 2), CONNECTIONS, TIMES * rate)
    after = await course.wash(given.size(12, 1), 1)
    seen.unloaded.rounds.append(Round(_ms(alone, ACCEPTED), alone.seconds))
    seen.served.rounds.append(Round(_ms(busy, ACCEPTED), busy.seconds))
    seen.accepted.rounds.append(Round(_ms(washed, ACCEPTED), washed.seconds))
    seen.refused.rounds.append(Round(_ms(washed, REFUSED) or [0.0], washed.seconds))
    seen.recovery_s.append(_recovered(after, CALM * percentile(_ms(alone, ACCEPTED), 99)))
    seen.offered.append(washed.sent / washed.seconds)
    seen.lost.append(sum(washed.lost.values()))
    seen.others.append(sum(len(ms) for status, ms in washed.ms.items() if status not in (*ACCEPTED, *REFUSED)))
    seen.cpu_shares.append(washed.cpu_share)


def _ms(washed: Washed, statuses: Sequence[str]) -> list[float]:
    return [ms for status in statuses for ms in washed.ms.get(status, ())]


def _recovered(after: Washed, level_ms: float) -> float:
    """Seconds after the flood until a window of a second has its p99 at this level; all of them where none has."""
    answers = [
        (at, ms)
        for status in after.ms
        for at, ms in zip(after.at[status], after.ms[status], strict=True)
        if status in ACCEPTED
    ]
    begins = 0.0
    while begins < after.seconds - WINDOW_S:
        window = [ms for at, ms in answers if begins <= at < begins + WINDOW_S]
        if window and percentile(window, 99) <= level_ms:
            return begins
        begins += WINDOW_S / 4
    return after.seconds


def _tell(report: Report, seen: Rounds) -> None:
    report.series("unloaded, c=1", seen.unloaded, callers=1)
    report.series(f"what can be served, c={CALLERS}", seen.served, callers=CALLERS)
    report.series(f"accepted at {TIMES} x that rate", seen.accepted, connections=CONNECTIONS)
    report.series(f"refused at {TIMES} x that rate (429, 503)", seen.refused, connections=CONNECTIONS)
    ratios = [a.p99 / u.p99 for a, u in zip(seen.accepted.rounds, seen.unloaded.rounds, strict=True)]
    told = {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
    p99 = report.ratio("accepted under overload: p99 / unloaded p99", {k: round(v, 3) for k, v in told.items()})
    share = statistics.median(a.rate / s.rate for a, s in zip(seen.accepted.rounds, seen.served.rounds, strict=True))
    report.note(f"offered per second, by round: {[round(rate) for rate in seen.offered]}")
    report.note(
        f"neither accepted nor refused, by round: {seen.others}; lost (no connection, cut off, unanswered): {seen.lost}"
    )
    report.note(f"of what can be served, accepted under overload: {share:.2f}")
    report.note(f"the generator used {max(seen.cpu_shares):.2f} of a core, of the two that everything shares")
    report.note(f"seconds until p99 was back, by round: {seen.recovery_s}")
    report.target("accepted at 4 x: p99 / unloaded p99", "<=", 5, p99)
    report.target(
        "answered neither 200, 429 nor 503, or not at all", "<=", 0, sum(seen.others) + sum(seen.lost), "requests"
    )
    report.target("after the flood: until p99 is back", "<=", 10, max(seen.recovery_s), "s")


# -- idle long-polls --------------------------------------------------------------------------------------------------


async def _idle(report: Report, system: System, dsn: str, broker: str, callers: int) -> None:
    """A thousand who wait for an instance whose database is not coming: memory and CPU of the API, beside nobody."""
    api = system.api(dsn, broker, "idle", longest_wait_s="60", auto_order="false")
    await _asks_for_a_database(api)
    process = psutil.Process(system.processes["idle"].pid)
    before = await _cost(process)
    waiting = []
    for _ in range(callers):
        waiting.append(asyncio.create_task(_wait(api)))
        await asyncio.sleep(ARRIVE_S)
    during = await _cost(process)
    if answered := sum(task.done() for task in waiting):
        raise RuntimeError(f"{answered} of {callers} were not held")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    report.note(
        f"{callers} idle long-polls: {during[0]:.1f} MB and {during[1]:.2f} % of a core; "
        f"none: {before[0]:.1f} MB and {before[1]:.2f} %"
    )
    report.target(f"{callers} idle long-polls: more memory of the API", "<=", 60, during[0] - before[0], "MB")
    report.target(f"{callers} idle long-polls: more of a core", "<=", 1, during[1] - before[1], "%")


async def _cost(process: psutil.Process) -> tuple[float, float]:
    """MB resident, and per cent of a core over ten seconds."""
    began = sum(process.cpu_times()[:2])
    await asyncio.sleep(10)
    return process.memory_info().rss / 1024**2, (sum(process.cpu_times()[:2]) - began) * 10


async def _asks_for_a_database(api: Http) -> None:
    """Until it is told to wait: an API that just started does not know its token yet."""
    body = '{"instance_id": "f-00000000", "customer_id": "c-1", "plan_tier": "free"}'
    about = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    async with asyncio.timeout(20):
        while b" 202 " not in await _answer(api, "POST", "/allocate", about, body):  # noqa: ASYNC110  it is another process
            await asyncio.sleep(0.1)


async def _wait(api: Http) -> None:
    await _answer(api, "GET", "/databases/f-00000000?wait=60", "", "")


async def _answer(api: Http, method: str, path: str, headers: str, body: str) -> bytes:
    """The first line of it."""
    reader, writer = await asyncio.open_connection(HOST, api.port)
    told = "".join(f"{name}: {value}\r\n" for name, value in {"Host": HOST, **api.headers}.items())
    writer.write(f"{method} /api/database{path} HTTP/1.1\r\n{told}{headers}\r\n{body}".encode())
    try:
        return await reader.readuntil(b"\r\n")
    finally:
        writer.close()


if __name__ == "__main__":
    carry_out(bench, __doc__)
