"""`stage`: a client and what it asks. A contract test runs on both: the real API, and the stand-in that consumers test with."""

from collections.abc import AsyncIterator

import pytest

from sdk.stage import FakeStage, RealStage, Stage
from support.cluster import Cluster
from support.house import House
from support.web import open_web


@pytest.fixture(params=["api", "stand-in"])
async def stage(request: pytest.FixtureRequest, house: House, other_cluster: Cluster) -> AsyncIterator[Stage]:
    if request.param == "stand-in":
        async with FakeStage.opened() as fake:
            yield fake
    else:
        async with open_web(house) as web, RealStage.over(web, other_cluster) as real:
            yield real
