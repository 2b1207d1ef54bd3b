"""What the explanations enumerate is what there is."""

import re
from importlib import import_module

from database_service.domain import databases, operations, servers
from database_service.settings import Settings
from docs.test_reference import tables
from reconcilers.test_crash_at_every_effect import SCENARIOS
from support.pages import DOCS, REPOSITORY


def test_every_death_that_is_tested_is_in_the_table_of_failures() -> None:
    told = [row[0] for row in next(tables(DOCS / "explanation" / "failure-modes.md"))]
    assert told == [scenario.name for scenario in SCENARIOS]


def test_every_bound_that_is_told_is_one_and_has_that_value() -> None:
    told = list(tables(DOCS / "explanation" / "overload.md"))[-1]
    assert len(told) > 30
    assert {row[1]: row[2] for row in told} == {row[1]: str(bound(row[1])) for row in told}
    admission = {name.upper() for name in Settings.model_fields if name.startswith(("api_", "token_", "unknown_"))}
    assert admission - {"API_HOST", "API_PORT"} <= {row[1] for row in told}


def bound(name: str) -> object:
    """The default of a setting, or a constant by its module."""
    if name.isupper():
        default: object = Settings.model_fields[name.lower()].get_default()
        return default
    module, _, constant = name.rpartition(".")
    value: object = getattr(import_module(f"database_service.{module}"), constant)
    return value


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


def test_every_test_that_the_threat_model_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "explanation" / "security.md").read_text()))
    sources = [
        *(REPOSITORY / "services").glob("*/tests/**/test_*.py"),
        *(REPOSITORY / "clients").glob("*/tests/test_*.py"),
    ]
    there = {name for path in sources for name in re.findall(r"def (test_\w+)\(", path.read_text())}
    assert len(named) > 30
    assert named <= there, named - there
