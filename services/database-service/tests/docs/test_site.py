"""The manual as a whole: it builds without a warning, reads without a network, and its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.pages import DOCS, REPOSITORY

IN_THE_ROOT = sorted(REPOSITORY.glob("*.md"))
FETCHED = re.compile(
    r"""<(?:script|img|iframe)[^>]+src="https?:"""
    r"""|<link(?![^>]+canonical)[^>]+href="https?:|@import\s+["'(u]*https?:"""
)
LINK = re.compile(r"\]\(([^)#\s]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(made / "trees")]
    built = subprocess.run([*command, str(DOCS), str(made / "html")], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return made / "html"


def test_it_builds_without_a_warning(site: Path) -> None:
    assert (site / "tutorial" / "first-database.html").exists()


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert not [page for page in pages if FETCHED.search(page.read_text())]


@pytest.mark.parametrize("page", IN_THE_ROOT, ids=lambda page: page.name)
def test_every_link_in_the_root_leads_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text()) if not target.startswith("http")]
    assert not [target for target in targets if not (page.parent / target).exists()]
