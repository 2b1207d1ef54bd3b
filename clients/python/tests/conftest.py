"""`fake`: the stand-in; `client` and `async_client`: the real clients of it, with its clock."""

from collections.abc import AsyncIterator, Iterator

import pytest

from database_service_client import AsyncDatabaseService, DatabaseService
from database_service_client.testing import FakeDatabaseService


@pytest.fixture
def fake() -> FakeDatabaseService:
    return FakeDatabaseService()


@pytest.fixture
def client(fake: FakeDatabaseService) -> Iterator[DatabaseService]:
    with fake.client() as client:
        yield client


@pytest.fixture
async def async_client(fake: FakeDatabaseService) -> AsyncIterator[AsyncDatabaseService]:
    async with fake.async_client() as client:
        yield client
