"""`web`: the API over a house, with the token that lets in."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from instance_service.api.app import create_app
from instance_service.auth.guard import Guard
from instance_service.deps import Deps
from instance_service.domain.secret import Secret
from instance_support.house import House


@pytest.fixture
async def web(house: House) -> AsyncIterator[httpx.AsyncClient]:
    @asynccontextmanager
    async def open_house() -> AsyncIterator[Deps]:
        yield house.deps

    token = secrets.token_urlsafe(32)
    app = create_app(open_house, Guard(Secret(token)))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://instances",
            headers={"Authorization": f"Bearer {token}"},
        ) as client,
    ):
        yield client
