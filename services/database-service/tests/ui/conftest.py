from collections.abc import AsyncIterator

import pytest

from support.house import House
from support.hub import Hub, open_hub


@pytest.fixture
async def hub(house: House) -> AsyncIterator[Hub]:
    async with open_hub(house) as opened:
        yield opened
