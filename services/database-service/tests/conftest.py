"""Fixtures every test may use. All are synchronous; each pytest-xdist worker has its own clusters.

`cluster`           session: a PostgreSQL 18 that plays the control plane: host, port, superuser, password, dsn(name)
`tenant_cluster`    session: a second one that plays a tenant server
`control_template`  session: the name of a migrated database on `cluster`; never connect to it, clone it
`control_dsn`       test: the DSN of a migrated database of its own on `cluster`, dropped afterwards
`house`             test: actions and reconcilers over both clusters (see support.house)
`runtime`           session: where PostgreSQL's programs are and who runs them
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from database_service.provisioners.runtime import PostgresRuntime
from support.cluster import Cluster, fresh_database, migrate, running_cluster
from support.house import House, open_house


@pytest.fixture(scope="session")
def runtime() -> PostgresRuntime:
    return PostgresRuntime.find()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def tenant_cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def control_template(cluster: Cluster) -> Iterator[str]:
    with fresh_database(cluster) as name:
        migrate(cluster.dsn(name))
        yield name


@pytest.fixture
def control_dsn(cluster: Cluster, control_template: str) -> Iterator[str]:
    with fresh_database(cluster, control_template) as name:
        yield cluster.dsn(name)


@pytest.fixture
async def house(control_dsn: str, tenant_cluster: Cluster) -> AsyncIterator[House]:
    """The service without its doors: real control database, real tenant server, a clock that can be put forward."""
    async with open_house(control_dsn, tenant_cluster) as opened:
        yield opened
