"""Clients: each asks, uses what it is given, remembers all it is told, and asks again where no answer came."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import asyncpg
import httpx

from chaos.memory import Answer, Door, Given, Journal, Life, Own, Race, Works

TABLE = "CREATE TABLE IF NOT EXISTS kept (number bigint PRIMARY KEY, instance text NOT NULL)"
WRITE = "INSERT INTO kept (number, instance) VALUES ($1, $2)"
REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
"""A door that is shut, as PostgreSQL says it; also a wrong password."""
CUT_OFF = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
NO_ANSWER = (httpx.TransportError, asyncio.TimeoutError)
PLANS = ("free", "starter", "standard", "professional")
OWN_SERVER = "premium"
ANSWER_S, TENANT_S = 6.0, 4.0
INSIST_S = 30.0
"""How long one goes on asking for what was not answered before one does something else."""
PAUSE_S = 0.25
HURRY_S = 0.15
"""About as long as a rotation takes."""
MOST_OPEN = 2
MOST_POOLS = 3
RACES = 3
"""Instances that a group of clients asks for together."""
GROUP = 4
THINK_S = 1.5

VERBS: Mapping[str, float] = {
    "allocate": 10,
    "allocate again": 12,
    "ask differently": 4,
    "race": 8,
    "status": 12,
    "credentials": 10,
    "write": 24,
    "rotate": 7,
    "release": 6,
    "release in a hurry": 3,
    "undelete": 8,
    "change plan": 5,
    "move": 0.6,
}
OPERATORS: Mapping[str, float] = {"order": 1.5, "cordon": 4, "uncordon": 6, "retire": 2}
"""What every eighth client does besides."""


@dataclass(slots=True)
class Client:
    """One of them. What it does comes of its seed; whether it can, of what it was told."""

    number: int
    seed: int
    http: httpx.AsyncClient
    journal: Journal
    races: Mapping[str, Race]
    lives: list[Life] = field(default_factory=list)
    pools: list[Own] = field(default_factory=list)
    over: bool = False
    finishing: bool = False
    _turn: int = 0
    _dice: Random = field(default_factory=Random)

    async def work(self) -> None:
        """Until it is told that it is over; what is in hand then is finished."""
        verbs = {**VERBS, **(OPERATORS if self.number % 8 == 0 else {})}
        doing: Mapping[str, Callable[[], Awaitable[None]]] = {
            "allocate": self._allocate, "allocate again": self._allocate_again, "ask differently": self._ask_differently,
            "race": self._race, "status": self._status, "credentials": self._credentials, "write": self._write,
            "rotate": self._rotate, "release": self._release, "release in a hurry": self._release_in_a_hurry,
            "undelete": self._undelete,
            "change plan": self._change_plan, "move": self._move,
            "order": self._order, "cordon": self._cordon, "uncordon": self._uncordon, "retire": self._retire,
        }  # fmt: skip
        while not self.over:
            verb, pause_s = self._next_turn(verbs)
            await asyncio.sleep(pause_s)
            await doing[verb]()

    def _next_turn(self, verbs: Mapping[str, float]) -> tuple[str, float]:
        """Each turn has dice of its own: what the one before came to does not change what this one does."""
        self._turn += 1
        self._dice = Random(f"client {self.seed} {self.number} {self._turn}")
        return self._dice.choices(list(verbs), list(verbs.values()))[0], self._dice.expovariate(1 / THINK_S)

    async def finish(self) -> None:
        """Faults are over: whatever was not answered is asked for again, until it is."""
        self.finishing = True
        for life in self.lives:
            if life.shutting:
                await self._shut(life)
            elif life.opening and not life.gone:
                await (self._open_again(life) if life.released else self._open(life))
            elif life.door is Door.ASKED:
                await self._open(life)
        for pool in self.pools:
            if pool.id is None:
                await self._ordered(pool)
            if pool.cordoned is not False and not pool.retiring:
                await self._set_cordon(pool, cordoned=False)

    # -- asking -------------------------------------------------------------------------------------------------------

    async def _ask(self, verb: str, method: str, path: str, **more: Any) -> Answer:
        """Once."""
        try:
            async with asyncio.timeout(ANSWER_S):
                response = await self.http.request(method, path, **more)
        except NO_ANSWER:
            answer = Answer(None)
        else:
            answer = Answer(response.status_code, _body(response))
        self.journal.note(verb, answer)
        return answer

    async def _insist(self, verb: str, method: str, path: str, **more: Any) -> tuple[Answer, bool]:
        """Until it is certain, or patience ends; and whether a request of these may still be on its way."""
        until, late = time.monotonic() + INSIST_S * (2 if self.finishing else 1), False
        while True:
            answer = await self._ask(verb, method, path, **more)
            if answer.certain or time.monotonic() > until or (self.over and not self.finishing):
                return answer, late
            late = True
            await asyncio.sleep(PAUSE_S)

    def _complain(self, what: str | None) -> None:
        if what:
            self.journal.complain(f"client {self.number}: {what}")

    def _one(self, fits: Callable[[Life], bool]) -> Life | None:
        """One of the newest lives that fit: those that a client still thinks of."""
        fitting = [life for life in self.lives[-6:] if fits(life)]
        dice = self._dice.random()
        return fitting[int(dice * len(fitting))] if fitting else None

    # -- allocations --------------------------------------------------------------------------------------------------

    async def _allocate(self) -> None:
        plan = self._dice.choice(PLANS)
        if len([life for life in self.lives if life.door is not Door.SHUT]) >= MOST_OPEN:
            return
        life = Life(f"c{self.number}-{len(self.lives)}", f"customer-{self.number}", plan)
        self.lives.append(life)
        await self._open(life)

    async def _allocate_again(self) -> None:
        if life := self._one(lambda x: x.door in (Door.OPEN, Door.ASKED, Door.UNKNOWN) and not x.shutting):
            await self._open(life)

    async def _open(self, life: Life) -> None:
        life.opening = True
        answer, _ = await self._insist("allocate", "POST", "/allocate", json=life.ask, headers={"Prefer": "wait=3"})
        await self._opened(life, answer)

    async def _opened(self, life: Life, answer: Answer) -> None:
        match answer.status:
            case 200:
                life.opening, life.door = False, Door.OPEN
                self._complain(life.learn(answer.body))
                await self._must_let_in(life)
            case 202:
                life.opening = False
                life.door = Door.ASKED if life.door is Door.UNKNOWN else life.door
            case 409 if answer.code == "allocation_differs" and not life.plan_sure:
                life.opening = False
            case _ if answer.certain:
                self._complain(f"{life.instance}: the same request was refused: {answer.body}")

    async def _ask_differently(self) -> None:
        if life := self._one(lambda x: x.door is Door.OPEN and x.settled):
            other = life.ask | {"customer_id": "somebody-else"}
            answer = await self._ask("ask differently", "POST", "/allocate", json=other)
            if answer.certain and answer.status != 409:
                self._complain(f"{life.instance}: a different request was answered with {answer}")

    async def _race(self) -> None:
        group = self.number // GROUP
        race = self.races[f"race-{group}-{self._dice.randrange(RACES)}"]
        customer = f"group-{group}" if self._dice.random() < 0.75 else f"rival-{group}"
        race.asked.add(customer)
        wanted = {"instance_id": race.instance, "customer_id": customer, "plan_tier": "free"}
        answer, _ = await self._insist("race", "POST", "/allocate", json=wanted, headers={"Prefer": "wait=2"})
        if answer.status == 200:
            self._complain(race.learn(customer, answer.body))
        elif answer.certain and answer.status not in (202, 409):
            self._complain(f"{race.instance}: a race was answered with {answer}")

    # -- looking ------------------------------------------------------------------------------------------------------

    async def _status(self) -> None:
        life = self._one(lambda x: x.settled)
        if life is None:
            return
        door = life.door
        answer = await self._ask("status", "GET", f"/databases/{life.instance}")
        if not answer.certain:
            return
        if door is Door.SHUT:
            life.gone = life.gone or answer.status == 410
            if answer.status != 410 and answer.body["status"] not in ("releasing", "released"):
                self._complain(f"{life.instance} was released, and is {answer.body['status']}")
        elif answer.status != 200 or answer.body["status"] in ("releasing", "released", "spare", "purged"):
            self._complain(f"{life.instance} is in use, and its status is {answer} {answer.body.get('status')}")

    async def _credentials(self) -> None:
        life = self._one(lambda x: x.settled and x.door is Door.OPEN)
        if life is None:
            return
        answer = await self._ask("credentials", "GET", f"/databases/{life.instance}/credentials")
        if answer.status == 200:
            life.reads += 1
            self._complain(life.learn(answer.body))
        elif answer.certain and answer.code not in ("database_not_ready", "database_moving"):
            self._complain(f"{life.instance} is in use, and its credentials are answered with {answer}")

    # -- using --------------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        life = self._one(lambda x: x.door is Door.OPEN and x.place is not None and not x.shutting)
        if life is None or life.newest is None:
            return
        verb = "write"
        try:
            async with asyncio.timeout(TENANT_S), _session(life, life.newest) as conn:
                await conn.execute(TABLE)
                for _ in range(1 + self._dice.randrange(3)):
                    life.written += 1
                    number = life.written
                    await conn.execute(WRITE, number, life.instance)
                    life.kept.add(number)
        except CUT_OFF as e:
            self.journal.answers[verb, type(e).__name__] += 1
        else:
            self.journal.answers[verb, "committed"] += 1

    async def _must_let_in(self, life: Life) -> None:
        """Credentials that were answered work from that moment on, as long as nobody moves the database."""
        if life.newest and not life.may_come("shut") and life.plan_sure and await lets_in(life, life.newest) is False:
            answer = await self._ask("status", "GET", f"/databases/{life.instance}")
            where = (answer.body["db_host"], answer.body["db_port"]) if answer.status == 200 else None
            if where == life.place and answer.body["status"] == "ready":
                self._complain(f"{life.instance}: the credentials that were answered do not log in")

    async def _must_keep_out(self, life: Life) -> None:
        for given in life.given:
            if await lets_in(life, given):
                self._complain(f"{life.instance} was released, and {given.user} still logs in")

    # -- changing -----------------------------------------------------------------------------------------------------

    async def _rotate(self) -> None:
        life = self._one(lambda x: x.settled and x.door is Door.OPEN and len(x.given) < 4)
        if life is None:
            return
        overlap = self._dice.choice((0, 3600))
        life.rotations += 1
        asked: dict[str, Any] = {
            "headers": {"Idempotency-Key": f"{life.instance}-{life.rotations}"},
            "json": {"overlap_seconds": overlap},
        }
        answer, late = await self._made(life, asked)
        if answer.status == 200:
            life.rotated += 1
            self._complain(life.learn(answer.body))
            if overlap == 0:
                life.end_older(sure=True)
            await self._must_let_in(life)
            if self._dice.random() < 0.3:
                await self._rotate_again(life, asked)
        elif late or not answer.certain or answer.status == 202:
            if overlap == 0:
                self._doubt(life)
        else:
            life.rotations -= 1

    async def _made(self, life: Life, asked: Mapping[str, Any]) -> tuple[Answer, bool]:
        """A rotation that is accepted and not done yet is asked for again, with its key."""
        late = False
        for _ in range(20):
            answer, lately = await self._insist("rotate", "POST", f"/databases/{life.instance}/rotate", **asked)
            late = late or lately
            if answer.status != 202 or self.over:
                break
            await asyncio.sleep(1)
        return answer, late

    async def _rotate_again(self, life: Life, asked: Mapping[str, Any]) -> None:
        """The same key: the same login, whatever came between."""
        answer, _ = await self._insist("rotate", "POST", f"/databases/{life.instance}/rotate", **asked)
        if answer.status == 200:
            self._complain(life.learn(answer.body))

    def _doubt(self, life: Life) -> None:
        """A rotation without overlap may have been made, or may yet be: what there is may end with it, and what comes next."""
        life.be_late("rotate")
        for given in life.given:
            if given.works is Works.YES:
                given.works = Works.UNSURE

    async def _release(self) -> None:
        if life := self._one(lambda x: x.door is Door.OPEN and not x.opening and not x.may_come("open")):
            await self._shut(life)

    async def _release_in_a_hurry(self) -> None:
        """While a rotation is under way, whose result comes too late: the release is what counts."""
        life = self._one(lambda x: x.settled and x.door is Door.OPEN and not x.may_come("open") and x.rotations < 3)
        if life is None:
            return
        life.rotations += 1
        key = {"Idempotency-Key": f"{life.instance}-{life.rotations}"}
        async with asyncio.TaskGroup() as both:
            both.create_task(self._ask("rotate", "POST", f"/databases/{life.instance}/rotate", headers=key, json={}))
            await asyncio.sleep(self._dice.random() * HURRY_S)
            await self._shut(life)

    async def _shut(self, life: Life) -> None:
        life.shutting = True
        answer, late = await self._insist("release", "DELETE", f"/databases/{life.instance}")
        if late or not answer.certain:
            life.be_late("shut")
        if answer.status == 202:
            life.shutting, life.door = False, Door.SHUT
            life.released += 1
            if answer.body["status"] == "released":
                await self._must_keep_out(life)
        elif answer.certain:
            self._complain(f"{life.instance}: its release was answered with {answer}")

    async def _undelete(self) -> None:
        life = self._one(lambda x: x.door is Door.SHUT and not x.shutting and not x.may_come("shut") and not x.gone)
        if life is not None and len([x for x in self.lives if x.door is not Door.SHUT]) <= MOST_OPEN:
            await self._open_again(life)

    async def _open_again(self, life: Life) -> None:
        before, life.opening = life.opening, True
        answer, late = await self._insist("undelete", "POST", f"/databases/{life.instance}/undelete")
        if late or not answer.certain:
            life.be_late("open")
        if answer.status == 410:
            life.opening, life.gone = False, True
        elif answer.code == "database_not_released" and (before or life.may_come("open")):
            life.opening, life.door = False, Door.OPEN  # an earlier request did it
        elif answer.status in (200, 202):
            life.undeleted += 1
            life.door = Door.OPEN
            await self._opened(life, answer)
        elif answer.certain:
            self._complain(f"{life.instance}: its undeletion was answered with {answer}")

    async def _change_plan(self) -> None:
        plan = self._dice.choice(PLANS)
        life = self._one(lambda x: x.settled and x.door is Door.OPEN and x.plan in PLANS and x.plan_sure)
        if life is not None and plan != life.plan:
            await self._change(life, plan)

    async def _move(self) -> None:
        """To a server of its own, or back."""
        life = self._one(lambda x: x.settled and x.door is Door.OPEN and x.plan_sure)
        if life is not None:
            await self._change(life, OWN_SERVER if life.plan != OWN_SERVER else "standard")

    async def _change(self, life: Life, plan: str) -> None:
        moves = OWN_SERVER in (plan, life.plan)
        key = f"{life.instance}-plan-{life.plans_changed}"
        life.plans_changed += 1
        life.plan_sure = False
        answer, late = await self._insist(
            "move" if moves else "change plan", "POST", f"/databases/{life.instance}/change-plan",
            json={"plan_tier": plan}, headers={"Idempotency-Key": key},
        )  # fmt: skip
        if answer.status in (200, 202) and not moves:
            life.plan, life.plan_sure = plan, True
        elif answer.status in (200, 202):
            await self._moved(life, plan, answer.body["id"])
        elif answer.certain and (not late or answer.code == "same_plan"):
            life.plan_sure, life.plan = True, plan if answer.code == "same_plan" else life.plan

    async def _moved(self, life: Life, plan: str, operation: str) -> None:
        """Follow it to its end; where that takes too long, the plan stays unsure."""
        until = time.monotonic() + 60
        while time.monotonic() < until and not self.over:
            answer = await self._ask("operation", "GET", f"/operations/{operation}", params={"wait": 3})
            state = answer.body["state"] if answer.status == 200 else ""
            if state in ("succeeded", "failed", "cancelled"):
                life.plan = plan if state == "succeeded" else life.plan
                life.plan_sure = True
                self.journal.answers["move", state] += 1
                return
            await asyncio.sleep(0.5)

    # -- pools --------------------------------------------------------------------------------------------------------

    async def _order(self) -> None:
        if len(self.pools) < MOST_POOLS:
            pool = Own(f"pool-{self.seed}-{self.number}-{len(self.pools)}")
            self.pools.append(pool)
            await self._ordered(pool)

    async def _ordered(self, pool: Own) -> None:
        answer, _ = await self._insist(
            "order", "POST", "/admin/pools", json={"max_instances": 3}, headers={"Idempotency-Key": pool.key}
        )
        if answer.status == 202:
            if pool.id not in (None, answer.body["id"]):
                self._complain(f"the order {pool.key} made two pools")
            pool.id = answer.body["id"]

    async def _cordon(self) -> None:
        if pool := self._pool(lambda x: not x.retiring):
            await self._set_cordon(pool, cordoned=True)

    async def _uncordon(self) -> None:
        if pool := self._pool(lambda x: not x.retiring and x.cordoned is not False):
            await self._set_cordon(pool, cordoned=False)

    async def _set_cordon(self, pool: Own, *, cordoned: bool) -> None:
        verb = "cordon" if cordoned else "uncordon"
        before, pool.cordoned = pool.cordoned, None
        answer, late = await self._insist(verb, "POST", f"/admin/pools/{pool.id}/{verb}")
        if answer.status == 200:
            pool.cordoned = None if late and before is not cordoned and not self.finishing else cordoned
            pool.cordons += cordoned

    async def _retire(self) -> None:
        if pool := self._pool(lambda x: not x.retiring):
            answer, late = await self._insist("retire", "POST", f"/admin/pools/{pool.id}/retire")
            pool.retired = answer.status == 202
            pool.retiring = pool.retired or late or not answer.certain

    def _pool(self, fits: Callable[[Own], bool]) -> Own | None:
        fitting = [pool for pool in self.pools if pool.id and fits(pool)]
        return self._dice.choice(fitting) if fitting else None


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text


@contextlib.asynccontextmanager
async def _session(life: Life, given: Given) -> Any:
    if life.place is None:
        raise ConnectionRefusedError
    host, port = life.place
    conn = await asyncpg.connect(
        host=host, port=port, user=given.user, password=given.password, database=given.database, timeout=TENANT_S
    )
    try:
        yield conn
    finally:
        conn.terminate()


async def lets_in(life: Life, given: Given) -> bool | None:
    """Whether these credentials log in; None where nobody can tell now."""
    try:
        async with asyncio.timeout(TENANT_S), _session(life, given):
            return True
    except REFUSED:
        return False
    except CUT_OFF:
        return None
