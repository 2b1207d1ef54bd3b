"""Fixtures every test may use. All are synchronous; each pytest-xdist worker has its own clusters.

`cluster`           session: a PostgreSQL 18 that plays the control plane: host, port, superuser, password, dsn(name)
`tenant_cluster`    session: a second one that plays a tenant server
`control_template`  session: the name of a migrated database on `cluster`; never connect to it, clone it
`control_dsn`       test: the DSN of a migrated database of its own on `cluster`, dropped afterwards
`runtime`           session: where PostgreSQL's programs are and who runs them
"""

from collections.abc import Iterator

import pytest

from database_service.provisioners.runtime import PostgresRuntime
from support.cluster import Cluster, fresh_database, migrate, running_cluster


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
