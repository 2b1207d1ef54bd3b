"""`web`: the API with a token that may do everything. `pooled`: the same, with one pool of ten slots."""

from collections.abc import AsyncIterator

import pytest

from support.house import House
from support.web import Web, open_web


@pytest.fixture
async def web(house: House) -> AsyncIterator[Web]:
    async with open_web(house) as web:
        yield web


@pytest.fixture
async def pooled(web: Web) -> Web:
    await web.house.pool()
    return web
