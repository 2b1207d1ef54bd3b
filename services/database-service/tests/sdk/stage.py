"""Stage: one client over one service, and what a contract test does to that service behind the client's back."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx

from database_service_client import AsyncDatabaseService, Retries
from database_service_client.testing import FakeDatabaseService
from support.web import Web


class Stage(ABC):
    client: AsyncDatabaseService

    @abstractmethod
    async def make_room(self, databases: int = 10) -> None:
        """From now on there is a pool for so many databases."""

    @abstractmethod
    async def settle(self) -> None:
        """Whatever the service does in the background is done."""

    @abstractmethod
    async def later(self, seconds: float) -> None:
        """So much time has passed, and what is due then is done."""


@dataclass
class FakeStage(Stage):
    fake: FakeDatabaseService
    client: AsyncDatabaseService

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator["FakeStage"]:
        fake = FakeDatabaseService()
        fake.no_room()
        async with fake.async_client(retries=Retries(most=2)) as client:
            yield cls(fake, client)

    async def make_room(self, databases: int = 10) -> None:
        self.fake.make_room()

    async def settle(self) -> None:
        """It has no background."""

    async def later(self, seconds: float) -> None:
        self.fake.clock.forward(seconds)


@dataclass
class RealStage(Stage):
    web: Web
    client: AsyncDatabaseService

    @classmethod
    @asynccontextmanager
    async def over(cls, web: Web) -> AsyncIterator["RealStage"]:
        async with _client(web, web.client.headers["Authorization"].removeprefix("Bearer ")) as client:
            yield cls(web, client)

    async def make_room(self, databases: int = 10) -> None:
        await self.web.house.pool(databases)

    async def settle(self) -> None:
        await self.web.house.until_quiet()

    async def later(self, seconds: float) -> None:
        await self.web.house.later(timedelta(seconds=seconds))

    def with_token(self, token: str) -> AsyncDatabaseService:
        return _client(self.web, token)


def _client(web: Web, token: str) -> AsyncDatabaseService:
    transport = httpx.ASGITransport(web.app, raise_app_exceptions=False)
    return AsyncDatabaseService("http://test", token, transport=transport, retries=Retries(most=2))
