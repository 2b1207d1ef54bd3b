"""The adversary: breaks what the schedule says when it says so, mends it in time, and sees how long it takes to work again."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg
import httpx
import redis

from chaos.schedule import CLOCK_S, Fault, Kind
from chaos.system import SERVED, System, send, tree
from chaos.wires import Mood, Wire

RECOVERY_S = 60.0
"""What does not work again by then is told as such."""
LOOK_S = 0.1
MOODS: Mapping[Kind, Mood] = {Kind.CUT: Mood.CUT, Kind.SLOW: Mood.SLOW, Kind.SILENCE: Mood.SILENT}
ANSWERS = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, httpx.TransportError, redis.RedisError)


@dataclass(frozen=True, slots=True)
class Done:
    """A fault as it was. `why_not`: it could not be made; `recovered_s`: from its end until what it hit worked again."""

    fault: Fault
    hit: str
    why_not: str | None = None
    recovered_s: float | None = None


@dataclass(slots=True)
class Adversary:
    system: System
    faults: Sequence[Fault]
    done: list[Done] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=2))

    async def work(self) -> None:
        """Until the last fault is over, mended, and what it hit works again."""
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as all_of_them:
            for fault in self.faults:
                all_of_them.create_task(self._one(fault))
        await self._http.aclose()

    async def _one(self, fault: Fault) -> None:
        await asyncio.sleep(max(0, self._began + fault.at_s - time.monotonic()))
        makes: Mapping[Kind, Callable[[Fault], Awaitable[Done]]] = {
            Kind.KILL: self._kill, Kind.FREEZE: self._freeze, Kind.CUT: self._disturb, Kind.SLOW: self._disturb,
            Kind.SILENCE: self._disturb, Kind.HALF_CLOSE: self._half_close, Kind.FILL_DISK: self._fill_disk,
            Kind.TURN_CLOCK: self._turn_clock, Kind.FLUSH: self._flush, Kind.ALL_AT_ONCE: self._all_at_once,
        }  # fmt: skip
        self.done.append(await makes[fault.kind](fault))

    # -- processes ----------------------------------------------------------------------------------------------------

    async def _kill(self, fault: Fault) -> Done:
        name, pid = await self._chosen(fault)
        if pid is None:
            return Done(fault, name, "it did not run")
        send([pid], signal.SIGKILL)
        return Done(fault, name, recovered_s=await self._recovery(fault.target, pid))

    async def _freeze(self, fault: Fault) -> Done:
        name, pid = await self._chosen(fault)
        if pid is None:
            return Done(fault, name, "it did not run")
        frozen = tree(pid)
        send(frozen, signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            send(frozen, signal.SIGCONT)
        return Done(fault, name, recovered_s=await self._recovery(fault.target, None))

    async def _all_at_once(self, fault: Fault) -> Done:
        """Whatever the system is made of, supervisord apart: that is this machine's init."""
        named = [self.system.pid(name) for name in (*SERVED, "valkey", "postgres")]
        victims = [pid for pid in (*named, *(pool.pid for pool in self.system.pools())) if pid]
        send([pid for victim in victims for pid in tree(victim)], signal.SIGKILL)
        return Done(fault, fault.target, recovered_s=await self._recovery("api", None))

    async def _chosen(self, fault: Fault) -> tuple[str, int | None]:
        if fault.target != "pool":
            return fault.target, await asyncio.to_thread(self.system.pid, fault.target)
        pools = self.system.pools()
        pool = pools[int(fault.chance * len(pools))] if pools else None
        return (f"pool {pool.id}", pool.pid) if pool else ("pool", None)

    # -- wires --------------------------------------------------------------------------------------------------------

    async def _disturb(self, fault: Fault) -> Done:
        wire = self._wire(fault)
        if wire is None:
            return Done(fault, fault.target, "there was none")
        await wire.become(MOODS[fault.kind])
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            await wire.become(Mood.WELL)
        return Done(fault, wire.name, recovered_s=await self._recovery(fault.target, None))

    async def _half_close(self, fault: Fault) -> Done:
        wire = self._wire(fault)
        if wire is None:
            return Done(fault, fault.target, "there was none")
        wire.half_close()
        return Done(fault, wire.name, recovered_s=await self._recovery(fault.target, None))

    def _wire(self, fault: Fault) -> Wire | None:
        if fault.target != "pool":
            return self.system.wires[fault.target]
        wires = list(self.system.pool_wires.values())
        return wires[int(fault.chance * len(wires))] if wires else None

    # -- disk, clocks, broker -----------------------------------------------------------------------------------------

    async def _fill_disk(self, fault: Fault) -> Done:
        if self.system.disk is None:
            return Done(fault, fault.target, "mounting a small disk needs root")
        if not await asyncio.to_thread(self.system.fill_disk):
            return Done(fault, fault.target, "more was written each time")
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            await asyncio.to_thread(self.system.empty_disk)
        return Done(fault, fault.target, recovered_s=await self._recovery("every pool", None))

    async def _turn_clock(self, fault: Fault) -> Done:
        self.system.turn_clock(fault.target, round((fault.chance - 0.5) * 2 * CLOCK_S))
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            self.system.turn_clock(fault.target, 0)
        return Done(fault, fault.target, recovered_s=await self._recovery(fault.target, None))

    async def _flush(self, fault: Fault) -> Done:
        try:
            await asyncio.to_thread(self.system.flush_broker)
        except redis.RedisError:
            return Done(fault, fault.target, "it did not run")
        return Done(fault, fault.target, recovered_s=await self._recovery("valkey", None))

    # -- recovery -----------------------------------------------------------------------------------------------------

    async def _recovery(self, target: str, killed: int | None) -> float | None:
        """Seconds until what was hit works again, as its users see it; `killed` does not count any more."""
        began = time.monotonic()
        while time.monotonic() - began < RECOVERY_S:
            if await self._works(target, killed):
                return time.monotonic() - began
            await asyncio.sleep(LOOK_S)
        return None

    async def _works(self, target: str, killed: int | None) -> bool:
        match target:
            case "valkey":
                return await asyncio.to_thread(self._broker_answers)
            case "worker" | "worker-2" | "beat":
                return await asyncio.to_thread(self.system.pid, target) not in (None, killed)
            case "pool" | "every pool":
                return await self._pools_answer()
            case _ if target.endswith(("-valkey", "worker-postgres", "worker-2-postgres")):
                return True  # nobody waits there for an answer
            case _:
                return await self._api_is_ready()

    def _broker_answers(self) -> bool:
        try:
            with self.system.broker() as broker:
                return bool(broker.ping())
        except redis.RedisError:
            return False

    async def _api_is_ready(self) -> bool:
        try:
            return (await self._http.get(f"{self.system.url}/health/ready")).is_success
        except AWAY:
            return False

    async def _pools_answer(self) -> bool:
        """All of those that have a place: one that was killed is started again by the worker."""
        ports = [place.identity() for place in self.system.places() if place.directory.exists()]
        return all([await _refuses(identity.port) for identity in ports if identity and identity.made])


async def _refuses(port: int) -> bool:
    """A server that answers a stranger's login at all is there."""
    try:
        conn = await asyncpg.connect(
            host="127.0.0.1", port=port, user="nobody", password="none", database="postgres", timeout=2
        )
    except ANSWERS:
        return True
    except AWAY:
        return False
    await conn.close()
    return True
