"""`stage`: a client and what it asks: the real API, or the stand-in for consumers' tests. A contract test runs on both."""

from collections.abc import AsyncIterator

import pytest

from sdk.stage import RealStage, Stage
from support.house import House
from support.web import open_web


@pytest.fixture
async def stage(house: House) -> AsyncIterator[Stage]:
    async with open_web(house) as web, RealStage.over(web) as stage:
        yield stage
