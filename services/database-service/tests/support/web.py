"""Web: the API over a house, asked in-process as a client would ask it."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, count

import httpx
from fastapi import FastAPI

from database_service.actions.tokens import issue
from database_service.api.app import PREFIX, Door, create_app
from database_service.auth.scopes import ALL
from database_service.deps import Deps
from database_service.domain.answers import Token
from database_service.domain.errors import InvalidField
from database_service.domain.ids import CustomerId
from support.house import WHO, House
from support.secrets import KNOWN


@dataclass(frozen=True)
class Web:
    """`client` holds a token with every scope and asks below `/api/database`."""

    app: FastAPI
    client: httpx.AsyncClient
    house: House
    names: Iterator[str] = field(default_factory=lambda: chain(["test"], map("test-{}".format, count(2))))
    """Of tokens: `client` has the first."""

    async def token(
        self, scopes: Iterable[str] = ALL, expires_at: datetime | None = None, customer: str | None = None
    ) -> tuple[Token, dict[str, str]]:
        """A token and the headers that present it."""
        bound = CustomerId(customer) if customer else None
        for name in self.names:
            try:
                token, text = await issue(self.house.deps, name, sorted(scopes), expires_at, WHO, customer_id=bound)
            except InvalidField as e:  # a token of another door of this house has that name
                if e.field != "name":
                    raise
            else:
                return token, {"Authorization": f"Bearer {text.reveal()}"}
        raise AssertionError("names do not end")

    async def allocate(self, instance: str = "i-1", tier: str = "free", **more: object) -> httpx.Response:
        wanted = {"instance_id": instance, "customer_id": "c-1", "plan_tier": tier, **more}
        return await self.client.post("/allocate", json=wanted)


@asynccontextmanager
async def open_web(house: House, door: Door | None = None) -> AsyncIterator[Web]:
    @asynccontextmanager
    async def given() -> AsyncIterator[Deps]:
        yield house.deps

    app = create_app(given, door or Door())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=transport, base_url=f"http://test{PREFIX}", event_hooks={"response": [refuse_in_error]}
        ) as client,
    ):
        web = Web(app, client, house)
        client.headers.update((await web.token())[1])
        yield web


async def refuse_in_error(response: httpx.Response) -> None:
    """Whatever a test asks for, an error tells no secret."""
    if response.is_error:
        await response.aread()
        KNOWN.refuse(response.text, f"the answer {response.status_code} to {response.request.url.path}")
