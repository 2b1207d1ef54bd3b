"""What the manual shows of the hub, and what the tests bring along: needs no browser."""

import hashlib
import re

import pytest

from browser import axe
from browser.pages import PAGES, Page
from support.pages import DOCS, REPOSITORY

SCHEMES = ("light", "dark")
PICTURES = DOCS / "images" / "hub"
TOUR = DOCS / "explanation" / "hub-tour.md"
LARGEST = 150_000


def pictures_of(page: Page) -> list[str]:
    devices = ("", "phone-") if page.on_a_phone else ("",)
    return [f"{page.name}-{device}{scheme}.png" for device in devices for scheme in SCHEMES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_manual_shows_every_page_light_and_dark_and_says_what_is_on_it(page: Page) -> None:
    told = TOUR.read_text()
    for name in pictures_of(page):
        assert 0 < (PICTURES / name).stat().st_size <= LARGEST, f"`make screenshots` makes {name}"
        assert re.search(rf"!\[[^\]]{{20,}}\]\(\.\./images/hub/{re.escape(name)}\)", told), (
            f"the tour does not show {name}"
        )


def test_the_manual_has_no_picture_of_a_page_that_is_gone() -> None:
    wanted = {name for page in PAGES for name in pictures_of(page)}
    assert {path.name for path in PICTURES.iterdir()} == wanted


def test_the_readme_shows_two_pages_light_and_dark() -> None:
    shown = re.findall(r"<picture>.*?</picture>", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    assert len(set(shown)) == 2
    for picture in shown:
        for path in re.findall(r'(?:srcset|src)="([^"]+)"', picture):
            assert (REPOSITORY / path).exists(), path
        assert "prefers-color-scheme: dark" in picture
        assert re.search(r'alt="[^"]{20,}"', picture)


def test_what_tests_bring_along_of_others_is_named_with_its_version_and_licence() -> None:
    told = (axe.VENDOR / "README.md").read_text()
    files = list(axe.VENDOR.glob("*.js"))
    assert files
    for path in files:
        [line] = [line for line in told.splitlines() if f"| {path.name} |" in line]
        assert hashlib.sha256(path.read_bytes()).hexdigest() in line
