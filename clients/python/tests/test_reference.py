"""The page of the manual is what the code says."""

import runpy
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT.parents[1] / "docs" / "reference" / "python-client.md"


def test_the_reference_of_the_client_is_as_generated() -> None:
    """Changed on purpose? `make reference`."""
    assert PAGE.read_text() == runpy.run_path(str(PROJECT / "reference.py"))["page"]()
