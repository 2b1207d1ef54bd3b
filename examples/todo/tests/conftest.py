"""A real PostgreSQL for the list, and a database of its own for each test."""

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, fresh_database, running_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture
def dsn(cluster: Cluster) -> Iterator[str]:
    with fresh_database(cluster) as name:
        yield cluster.dsn(name)
