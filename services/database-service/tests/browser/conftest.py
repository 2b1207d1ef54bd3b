"""`scene`: a whole system as `dbs up` starts it. `chromium`: the browser. `operator`, `viewer`: windows of who is signed in.

Asynchronous ones live on the event loop of the session, as the connection to the browser does: their tests are marked
`asyncio(loop_scope="session")`.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from browser.scene import POOLS, SETTINGS, Scene, set_up
from browser.window import Window, open_chromium, open_window
from e2e.conftest import running
from support.cluster import free_port
from support.folders import open_folder


@pytest.fixture(scope="session")
def scene() -> Iterator[Scene]:
    with open_folder() as folder, running(folder / "data", free_port(), folder, POOLS, settings=SETTINGS) as stack:
        yield set_up(stack)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    async with open_chromium() as browser:
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def operators_session(chromium: Browser, scene: Scene) -> Any:
    return await signed_in(chromium, scene.url, scene.operator)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def viewers_session(chromium: Browser, scene: Scene) -> Any:
    return await signed_in(chromium, scene.url, scene.viewer)


async def signed_in(browser: Browser, url: str, token: str) -> Any:
    async with open_window(browser, url) as window:
        await window.sign_in(token)
        return await window.page.context.storage_state()


@pytest_asyncio.fixture(loop_scope="session")
async def operator(chromium: Browser, scene: Scene, operators_session: Any) -> AsyncIterator[Window]:
    async with open_window(chromium, scene.url, operators_session) as window:
        yield window


@pytest_asyncio.fixture(loop_scope="session")
async def viewer(chromium: Browser, scene: Scene, viewers_session: Any) -> AsyncIterator[Window]:
    async with open_window(chromium, scene.url, viewers_session) as window:
        yield window


@pytest_asyncio.fixture(loop_scope="session")
async def stranger(chromium: Browser, scene: Scene) -> AsyncIterator[Window]:
    async with open_window(chromium, scene.url) as window:
        yield window
