"""What is promised of every page, in the browser: `pages.PAGES` says which there are."""

import os
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import playwright.async_api
import pytest
import pytest_asyncio

from browser import axe
from browser.pages import PAGES, Page
from browser.scene import Scene
from browser.window import DESK, PHONE, SHOWS_FOCUS, ZONE, Window, open_window

pytestmark = [pytest.mark.stack, pytest.mark.asyncio(loop_scope="session")]

SCHEMES = ("light", "dark")
LOOKS = {"light": (DESK, "light"), "dark": (DESK, "dark"), "phone": (PHONE, "light")}
ASKED_FOR = "HUB_PICTURES"
"""A folder that pictures are put into; `make screenshots` sets it to the manual's."""
REACHED = """() => [...document.querySelectorAll("a[href], button, input, select, summary, textarea")]
  .filter((it) => it.checkVisibility() && it.type !== "hidden" && !it.closest("svg"))"""


@dataclass(frozen=True)
class Shown:
    """A page that was loaded once, and is looked at in many ways."""

    page: Page
    window: Window


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=PAGES, ids=lambda page: page.name)
async def shown(
    request: pytest.FixtureRequest, chromium: playwright.async_api.Browser, scene: Scene, operators_session: Any
) -> AsyncIterator[Shown]:
    page: Page = request.param
    async with open_window(chromium, scene.url, operators_session if page.signed_in else None) as window:
        await window.go(scene.place(page.path), page.expects)
        await page.steps(window, scene)
        yield Shown(page, window)
        assert window.faults == [], "after all that was done with it"


@pytest.fixture
def folder_of_pictures(tmp_path: Path) -> Path:
    return Path(os.environ.get(ASKED_FOR) or tmp_path)


async def test_it_loads_without_an_error_and_asks_nobody_else_for_anything(shown: Shown) -> None:
    assert shown.window.faults == []


@pytest.mark.parametrize(("size", "scheme"), LOOKS.values(), ids=LOOKS)
async def test_nothing_serious_keeps_anybody_from_using_it(
    shown: Shown, scheme: str, size: Any, record_property: Any
) -> None:
    await look(shown.window, scheme, size)
    found = await axe.violations(shown.window)
    for each in found:
        record_property("accessibility", f"{shown.page.name}: {each}")
    assert [str(each) for each in found if each.serious] == []


async def test_it_fits_on_a_phone(shown: Shown) -> None:
    await look(shown.window, "light", PHONE)
    assert await shown.window.measure("() => document.documentElement.scrollWidth") == PHONE["width"]


async def test_what_can_be_used_can_be_reached_with_keys_and_shows_that_it_was(shown: Shown) -> None:
    await look(shown.window, "light", DESK)
    unreachable = await shown.window.measure(
        f"() => ({REACHED})().filter((it) => it.tabIndex < 0).map((it) => it.outerHTML)"
    )
    assert unreachable == []
    unseen = f"""() => ({REACHED})().filter((it) => {{
      it.focus({{focusVisible: true, preventScroll: true}});
      return !({SHOWS_FOCUS})(it);
    }}).map((it) => it.outerHTML)"""
    assert await shown.window.measure(unseen) == []
    await shown.window.measure("() => document.activeElement.blur()")


async def test_times_are_in_the_readers_zone_and_tell_utc_on_hover(shown: Shown) -> None:
    times = await shown.window.measure(
        "() => [...document.querySelectorAll('time')].map((it) => [it.dateTime, it.textContent, it.title])"
    )
    for at, text, title in times:
        moment = datetime.fromisoformat(at)
        here = moment.astimezone(ZoneInfo(ZONE))
        assert text.startswith(f"{here.day} "), (at, text)
        assert text.endswith(f"{here:%Y, %H:%M:%S}"), (at, text)
        assert title == f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_it_can_be_pictured_for_the_manual(shown: Shown, scheme: str, folder_of_pictures: Path) -> None:
    for size, device in [(DESK, ""), (PHONE, "phone-")][: 2 if shown.page.on_a_phone else 1]:
        path = folder_of_pictures / f"{shown.page.name}-{device}{scheme}.png"
        await look(shown.window, scheme, size)
        hidden = [shown.window.page.locator(shown.page.secret)] if shown.page.secret else []
        await shown.window.page.screenshot(path=path, mask=hidden, mask_color="#8a929b", animations="disabled")
        assert size_of(path) == (size["width"], size["height"])


DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""The page has been told of its size, and has drawn what follows from that."""


async def look(window: Window, scheme: Any, size: Any) -> None:
    await window.page.emulate_media(color_scheme=scheme)
    await window.page.set_viewport_size(size)
    await window.measure("() => scrollTo(0, 0)")
    await window.measure(DRAWN)


def size_of(picture: Path) -> tuple[int, int]:
    """A PNG says it in its first chunk."""
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    return width, height
