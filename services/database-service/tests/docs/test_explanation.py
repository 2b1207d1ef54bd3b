"""What the explanations enumerate is what there is."""

import re

from database_service.domain import databases, operations, servers
from docs.test_reference import tables
from reconcilers.test_crash_at_every_effect import SCENARIOS
from support.pages import DOCS


def test_every_death_that_is_tested_is_in_the_table_of_failures() -> None:
    told = [row[0] for row in next(tables(DOCS / "explanation" / "failure-modes.md"))]
    assert told == [scenario.name for scenario in SCENARIOS]


def test_the_glossary_has_every_state() -> None:
    told = set(re.findall(r"`(\w+)`", (DOCS / "glossary.md").read_text()))
    assert told >= {*databases.Status, *servers.Status, *operations.State}


def test_decisions_are_numbered_without_a_gap_and_begin_with_what_was_decided() -> None:
    pages = sorted((DOCS / "decisions").glob("0*.md"))
    assert [page.name[:4] for page in pages] == [f"{n:04d}" for n in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]} "), page
        decision = re.search(r"\*\*Decision\.\*\* (.+?)\n\n", text, re.DOTALL)
        assert decision is not None, page
        assert len(re.findall(r"[.!](?=\s|$)", decision[1])) == 2, page
