"""Fixtures of instance-service's tests, beside those that every package's tests have (see support.fixtures).

`own_dsn`   test: a migrated database of the service's own on `cluster`, dropped afterwards
`house`     test: actions and reconcilers between two worlds that the test commands (see instance_support.house)
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from instance_service.store.migrate import migrate
from instance_support.house import House, open_house
from support.cluster import Cluster, blocking, fresh_database


@pytest.fixture(scope="session")
def own_template(cluster: Cluster) -> Iterator[str]:
    with fresh_database(cluster) as name:
        blocking(migrate(cluster.dsn(name)))
        yield name


@pytest.fixture
def own_dsn(cluster: Cluster, own_template: str) -> Iterator[str]:
    with fresh_database(cluster, own_template) as name:
        yield cluster.dsn(name)


@pytest.fixture
async def house(own_dsn: str) -> AsyncIterator[House]:
    async with open_house(own_dsn) as opened:
        yield opened
