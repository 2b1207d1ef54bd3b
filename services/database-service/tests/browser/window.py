"""Windows: Chromium as somebody has it open, with everything noted down that no page of ours may do."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Request, Response, async_playwright

from support.needs import without

PROGRAM = "chromium"
ARGUMENTS = (
    "--no-sandbox",  # as root it has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
ZONE = "Asia/Kolkata"
"""Half an hour off: an hour's offset alone would not do."""
LONGEST_MS = 60_000
LEAVING = ("eventsource", "xhr", "fetch")
"""What a page was still asking for is given up when it is left."""
MOST_KEYS = 150


@asynccontextmanager
async def open_chromium() -> AsyncIterator[Browser]:
    """Debian's, with a new and empty folder for what it keeps."""
    if (program := shutil.which(PROGRAM)) is None:
        without("no browser: not installed: chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Window:
    """One page. `faults` is what went wrong in it until now: scripts, what the policy forbids, what was not served or was asked
    of somebody else. A page that is to say no is announced by `expects`."""

    page: Page
    url: str
    expects: int = 200
    faults: list[str] = field(default_factory=list)

    def watch(self) -> "Window":
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        self.page.on("request", self._asked)
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)
        return self

    def _said(self, message: ConsoleMessage) -> None:
        of_an_answer = message.text.startswith("Failed to load resource")  # which `_answered` judges
        if message.type == "error" and not of_an_answer:
            self.faults.append(f"console: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(f"{self.url}/admin"):
            self.faults.append(f"asked elsewhere: {request.url}")

    def _failed(self, request: Request) -> None:
        if not (request.resource_type in LEAVING and request.failure == "net::ERR_ABORTED"):
            self.faults.append(f"failed: {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        wanted = self.expects if response.request.is_navigation_request() else 200
        if response.status >= 400 and response.status != wanted:
            self.faults.append(f"{response.status}: {response.url}")

    async def go(self, path: str, expects: int = 200) -> None:
        """Below `/admin`."""
        self.expects = expects
        answer = await self.page.goto(f"{self.url}/admin{path}")
        assert answer is not None
        assert answer.status == expects, f"{answer.status}: {path}"

    async def sign_in(self, token: str) -> None:
        await self.go("/sign-in")
        await self.page.get_by_label("Token").fill(token)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.get_by_role("heading", name="The fleet").wait_for()

    async def press(self, button: str) -> None:
        await self.page.get_by_role("button", name=button, exact=True).click()

    async def plant(self) -> None:
        """Something that a page which is loaded again has no more."""
        await self.page.evaluate("() => { window.planted = true }")

    async def was_not_loaded_again(self) -> bool:
        return bool(await self.page.evaluate("() => window.planted === true"))

    async def tab_to(self, wanted: Locator) -> None:
        """By the Tab key alone, to what has to be seen to have the focus."""
        for _ in range(MOST_KEYS):
            await self.page.keyboard.press("Tab")
            if await wanted.evaluate("it => it === document.activeElement"):
                assert await wanted.evaluate(SHOWS_FOCUS), f"nobody sees that {wanted} has the focus"
                return
        raise AssertionError(f"Tab does not lead to {wanted}")

    async def measure(self, script: str) -> Any:
        return await self.page.evaluate(script)


SHOWS_FOCUS = """it => {
  const seen = getComputedStyle(it);
  return seen.outlineStyle !== "none" && parseFloat(seen.outlineWidth) >= 2;
}"""


@asynccontextmanager
async def open_window(browser: Browser, url: str, session: Any = None, **more: Any) -> AsyncIterator[Window]:
    """In a profile of its own; `session` is what another window kept (`storage_state`)."""
    assert urlsplit(url).hostname == "127.0.0.1"
    context = await browser.new_context(
        viewport=DESK, locale="en-GB", timezone_id=ZONE, reduced_motion="reduce", storage_state=session, **more
    )
    context.set_default_timeout(LONGEST_MS)
    try:
        yield Window(await context.new_page(), url).watch()
    finally:
        await context.close()
