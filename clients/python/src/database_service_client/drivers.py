"""The two ways to do what a verb wants: in the caller's thread, or in its event loop."""

import inspect
import threading
from collections.abc import AsyncGenerator, Generator
from typing import TypeVar

import httpx

from database_service_client.asking import Asker
from database_service_client.errors import Closed
from database_service_client.steps import Call, Came, Effect, Item, Pause, Steps, Stream, Tell

T = TypeVar("T")


class Driver:
    """Blocks. Several threads may use one."""

    def __init__(self, http: httpx.Client, asker: Asker) -> None:
        self._http = http
        self.asker = asker
        self.closed = threading.Event()

    def branch(self) -> "Driver":
        """The same connections, with an end of its own."""
        return Driver(self._http, self.asker)

    def end(self) -> None:
        """Whoever pauses here is woken; nothing more is asked."""
        self.closed.set()

    def close(self) -> None:
        """The end of all branches too."""
        self.end()
        self._http.close()

    def run(self, steps: Steps[T]) -> T:
        came: Came = None
        try:
            while True:
                try:
                    wanted = steps.send(came)
                except StopIteration as end:
                    result: T = end.value
                    return result
                came = self._do(wanted)
        finally:
            steps.close()

    def stream(self, steps: Stream[T]) -> Generator[T]:
        came: Came = None
        try:
            while True:
                try:
                    wanted = steps.send(came)
                except StopIteration:
                    return
                if isinstance(wanted, Item):
                    came = None
                    yield wanted.value
                else:
                    came = self._do(wanted)
        finally:
            steps.close()

    def _do(self, wanted: Effect) -> Came:
        match wanted:
            case Call():
                return self._send(wanted)
            case Pause():
                self.asker.time.sleep(wanted, self.closed)
            case Tell(listener, what):
                listener(what)
        return None

    def _send(self, call: Call) -> Came:
        if self._http.is_closed or self.closed.is_set():
            raise Closed
        try:
            return self._http.send(self.asker.request(self._http, call))
        except httpx.TransportError as lost:
            return lost


class AsyncDriver:
    """Awaits, in the event loop it is first used in."""

    def __init__(self, http: httpx.AsyncClient, asker: Asker) -> None:
        self._http = http
        self.asker = asker

    async def aclose(self) -> None:
        await self._http.aclose()

    async def run(self, steps: Steps[T]) -> T:
        came: Came = None
        try:
            while True:
                try:
                    wanted = steps.send(came)
                except StopIteration as end:
                    result: T = end.value
                    return result
                came = await self._do(wanted)
        finally:
            steps.close()

    async def stream(self, steps: Stream[T]) -> AsyncGenerator[T]:
        came: Came = None
        try:
            while True:
                try:
                    wanted = steps.send(came)
                except StopIteration:
                    return
                if isinstance(wanted, Item):
                    came = None
                    yield wanted.value
                else:
                    came = await self._do(wanted)
        finally:
            steps.close()

    async def _do(self, wanted: Effect) -> Came:
        match wanted:
            case Call():
                return await self._send(wanted)
            case Pause():
                await self.asker.time.async_sleep(wanted)
            case Tell(listener, what):
                told = listener(what)
                if inspect.isawaitable(told):
                    await told
        return None

    async def _send(self, call: Call) -> Came:
        if self._http.is_closed:
            raise Closed
        try:
            return await self._http.send(self.asker.request(self._http, call))
        except httpx.TransportError as lost:
            return lost


class Speaking:
    """What verbs are written on."""

    _asker: Asker


class Blocking(Speaking):
    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self._asker = driver.asker


class Awaiting(Speaking):
    def __init__(self, driver: AsyncDriver) -> None:
        self.driver = driver
        self._asker = driver.asker
