"""The hub over a house, visited in-process as a browser would visit it."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape

import httpx

from database_service.api import problems
from database_service.auth.oidc.sign_in import SignIn
from database_service.auth.scopes import ALL
from database_service.ui import app as hub
from support.house import House
from support.web import Web, open_web

_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


@dataclass
class Visit:
    """One browser. `get` and `post` ask below `/admin`."""

    browser: httpx.AsyncClient
    csrf: str = ""

    async def get(self, path: str = "", **more: object) -> httpx.Response:
        answer = await self.browser.get(f"/admin{path}", **more)  # type: ignore[arg-type]
        if found := _CSRF.search(answer.text):
            self.csrf = found[1]
        return answer

    async def post(self, path: str, fields: Mapping[str, str] | None = None, csrf: str | None = None) -> httpx.Response:
        """A form of the page that was got last; with another `csrf`, one of somebody else's page."""
        told = {"csrf": self.csrf if csrf is None else csrf, **(fields or {})}
        return await self.browser.post(f"/admin{path}", data=told)

    async def shows(self, path: str = "") -> str:
        """The text of a page, without its tags."""
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


@dataclass(frozen=True)
class Hub:
    web: Web

    @asynccontextmanager
    async def visit(self, scopes: Iterable[str] = ALL) -> AsyncIterator[Visit]:
        """Signed in with a token that holds these."""
        async with self.stranger() as visit:
            answer = await visit.browser.post("/admin/sign-in", data={"token": await self.token(scopes)})
            assert answer.status_code == 303, answer.text
            await visit.get()
            yield visit

    @asynccontextmanager
    async def stranger(self) -> AsyncIterator[Visit]:
        transport = httpx.ASGITransport(self.web.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as browser:
            yield Visit(browser)

    async def logged(self) -> None:
        """What was asked until now is in the request log."""
        await asyncio.sleep(0)  # what is noted of a request is noted a turn after it was answered
        await self.web.app.state.requests.write()

    async def token(self, scopes: Iterable[str] = ALL, customer: str | None = None) -> str:
        _, headers = await self.web.token(scopes, customer=customer)
        return headers["Authorization"].removeprefix("Bearer ")


@asynccontextmanager
async def open_hub(house: House, sign_in: SignIn | None = None) -> AsyncIterator[Hub]:
    async with open_web(house) as web:
        hub.install(web.app, problems.status_of, sign_in)
        yield Hub(web)
