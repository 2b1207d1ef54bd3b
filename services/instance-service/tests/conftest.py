"""Fixtures of instance-service's tests. A test that prints or logs a secret has failed, as in database-service's.

`cluster`   session: a PostgreSQL 18 that holds the service's own database
`own_dsn`   test: a migrated database of its own on it, dropped afterwards
`house`     test: actions and reconcilers between two worlds that the test commands (see instance_support.house)
`folder`    test: a folder that every account may enter
`valkey`    test: a broker of its own, which can be frozen and killed
"""

from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from instance_service.store.migrate import migrate
from instance_support.house import House, open_house
from support import secrets
from support.broker import Broker, running_broker
from support.cluster import Cluster, blocking, fresh_database, running_cluster
from support.folders import open_folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    for name, told in report.sections:
        try:
            secrets.KNOWN.refuse(told, name)
        except secrets.Leak as leak:
            report.outcome, report.longrepr = "failed", str(leak)
    return report


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


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


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


@pytest.fixture
def valkey() -> Iterator[Broker]:
    with running_broker() as running:
        yield running
