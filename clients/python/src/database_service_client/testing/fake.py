"""The stand-in as a consumer's test holds it: what makes clients of it, and what goes wrong on purpose."""

import asyncio
import math
import threading
from typing import Any
from uuid import UUID

import httpx

from database_service_client.client import AsyncDatabaseService, DatabaseService
from database_service_client.testing.clock import FakeClock
from database_service_client.testing.door import Door, NotFaked, problem
from database_service_client.testing.rules import Refused
from database_service_client.testing.world import World

__all__ = ["FakeDatabaseService", "NotFaked"]

URL = "http://database-service.fake"


class FakeDatabaseService:
    """All of the API that consumers use: databases, moves of them, operations, health. Several threads may use it.

    There is room for everybody unless it is taken away; a dedicated server takes 5 s, a move 4 s, of which the database
    is shut for 3. These are seconds of `clock`, which goes on only when somebody waits. A client made elsewhere is given
    `arguments`.
    """

    def __init__(self) -> None:
        self._world = World()
        self.requests: list[httpx.Request] = []
        """All that arrived, in order."""
        self.transport = _Transport(self)
        self._faults: list[Refused | type[httpx.TransportError]] = []
        self._lost_answers = 0
        self._latency_s = 0.0
        self._door = Door(self._world)
        self._one_at_a_time = threading.Lock()

    @property
    def clock(self) -> FakeClock:
        return self._world.clock

    @property
    def arguments(self) -> dict[str, Any]:
        """What makes a client, of either kind, one of this service: `AsyncDatabaseService(**fake.arguments)`."""
        return {"url": URL, "token": "fake", "transport": self.transport, "time": self.clock.time}

    def client(self, **how: Any) -> DatabaseService:
        """`how` is as for DatabaseService."""
        return DatabaseService(**self.arguments | how)

    def async_client(self, **how: Any) -> AsyncDatabaseService:
        """`how` is as for AsyncDatabaseService."""
        return AsyncDatabaseService(**self.arguments | how)

    # -- room --

    def no_room(self, seconds: float = math.inf) -> None:
        """Shared servers have none for so long: who asks meanwhile waits."""
        self._world.room_from = self.clock.seconds + seconds

    def make_room(self) -> None:
        self._world.room_from = self.clock.seconds

    # -- moves --

    def move(self, instance_id: str) -> UUID:
        """As an operator would: the operation's id. The database is elsewhere when it is over."""
        return self._world.begin(self._world.move(instance_id)).id

    def write(self, instance_id: str) -> None:
        """Its instance wrote something: taking back a move before this will fail."""
        self._world.tenant(instance_id).written = True

    def fail_moves(self, why: str | None) -> None:
        """Moves that begin from now on fail, and leave their database where it is; None: they succeed."""
        self._world.move_fails = why

    def block_moves(self, *blockers: str) -> None:
        """What is in the way of moves that begin from now on; nothing: they can be made."""
        self._world.move_blockers = blockers

    # -- faults --

    def fail(self, code: str, *, times: int = 1, retry_after: float | None = None) -> None:
        """The next requests are refused with this code, and do nothing."""
        self._faults += [Refused(code, f"The stand-in was told to answer {code}.", retry_after=retry_after)] * times

    def be_away(self, times: int = 1) -> None:
        """The next requests do not arrive: nobody listens."""
        self._faults += [httpx.ConnectError] * times

    def lose_answers(self, times: int = 1) -> None:
        """The next requests do what they ask for, and nobody hears of it."""
        self._lost_answers += times

    def be_slow(self, seconds: float) -> None:
        """Every answer takes so long; a client that does not wait for it gives up as it really would."""
        self._latency_s = seconds

    def be_well(self) -> None:
        """No more of these."""
        self._faults.clear()
        self._lost_answers, self._latency_s = 0, 0.0

    # -- the wire --

    def answer(self, request: httpx.Request) -> httpx.Response:
        """What the service would answer. httpx.TransportError where no answer arrives."""
        with self._one_at_a_time:
            self.requests.append(request)
            return self._fault(request) or self._answer(request)

    def _fault(self, request: httpx.Request) -> httpx.Response | None:
        if not self._faults:
            return None
        fault = self._faults.pop(0)
        if isinstance(fault, Refused):
            return problem(request, fault)
        raise fault("nobody listens", request=request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = self._door.answer(request)
        self._take_time(request)
        if self._lost_answers:
            self._lost_answers -= 1
            raise httpx.ReadError("the connection was cut", request=request)
        return answer

    def _take_time(self, request: httpx.Request) -> None:
        patience: float | None = request.extensions.get("timeout", {}).get("read")
        if patience is not None and self._latency_s > patience:
            self.clock.forward(patience)
            raise httpx.ReadTimeout("it took too long", request=request)
        self.clock.forward(self._latency_s)


class _Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    def __init__(self, fake: FakeDatabaseService) -> None:
        self._fake = fake

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self._fake.answer(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        await asyncio.sleep(0)  # noqa: TID251  others get their turn, as they would while it is on its way
        return self._fake.answer(request)
