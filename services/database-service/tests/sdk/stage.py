"""Stage: one client over one service, and what a contract test does to that service behind the client's back."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg
import httpx

from database_service.domain.ids import OperationId
from database_service_client import AsyncDatabaseService, Retries
from database_service_client.testing import FakeDatabaseService
from support.cluster import Cluster
from support.web import Web


class Stage(ABC):
    client: AsyncDatabaseService

    @abstractmethod
    async def make_room(self, databases: int = 10) -> None:
        """From now on there is a pool for so many databases."""

    @abstractmethod
    async def make_other_room(self) -> None:
        """A pool on another server, empty."""

    @abstractmethod
    async def work(self, operation_id: UUID) -> None:
        """Whoever works in the background brings this operation to its end."""

    @abstractmethod
    async def write(self, instance_id: str) -> None:
        """The instance writes something into its database."""

    @abstractmethod
    async def clear(self, instance_id: str) -> None:
        """Nothing of this instance stays anywhere."""

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

    async def make_other_room(self) -> None:
        """There always is one."""

    async def work(self, operation_id: UUID) -> None:
        """It has no background."""

    async def write(self, instance_id: str) -> None:
        self.fake.write(instance_id)

    async def clear(self, instance_id: str) -> None:
        """It is not anywhere."""

    async def settle(self) -> None:
        """As in `work`."""

    async def later(self, seconds: float) -> None:
        self.fake.clock.forward(seconds)


@dataclass
class RealStage(Stage):
    web: Web
    other: Cluster
    client: AsyncDatabaseService

    @classmethod
    @asynccontextmanager
    async def over(cls, web: Web, other: Cluster) -> AsyncIterator["RealStage"]:
        async with _client(web, web.client.headers["Authorization"].removeprefix("Bearer ")) as client:
            yield cls(web, other, client)

    async def make_room(self, databases: int = 10) -> None:
        await self.web.house.pool(databases)

    async def make_other_room(self) -> None:
        await self.web.house.pool(10, self.other)

    async def work(self, operation_id: UUID) -> None:
        await self.web.house.finished(OperationId(operation_id))

    async def write(self, instance_id: str) -> None:
        conn = await asyncpg.connect(**(await self.client.credentials(instance_id)).dict())
        await conn.execute("CREATE TABLE written ()")
        await conn.close()

    async def clear(self, instance_id: str) -> None:
        await self.client.release(instance_id)
        await self.web.house.later(timedelta(days=40))

    async def settle(self) -> None:
        await self.web.house.until_quiet()

    async def later(self, seconds: float) -> None:
        await self.web.house.later(timedelta(seconds=seconds))

    def with_token(self, token: str) -> AsyncDatabaseService:
        return _client(self.web, token)


def _client(web: Web, token: str) -> AsyncDatabaseService:
    transport = httpx.ASGITransport(web.app, raise_app_exceptions=False)
    return AsyncDatabaseService("http://test", token, transport=transport, retries=Retries(most=2))
