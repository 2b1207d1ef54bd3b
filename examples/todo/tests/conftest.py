"""A database of its own for each test, on the PostgreSQL that all packages' tests share."""

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, fresh_database


@pytest.fixture
def dsn(cluster: Cluster) -> Iterator[str]:
    with fresh_database(cluster) as name:
        yield cluster.dsn(name)
