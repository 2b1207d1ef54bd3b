"""What a page offers to do, and whether that is still what is to be offered."""

from collections.abc import Collection
from typing import Annotated

from fastapi import Query

from database_service.ui.visitor import Visitor

_LONGEST = 200

Offered = Annotated[str | None, Query(max_length=_LONGEST)]
"""The verbs on the page that asks, as the field `offered` of its forms says; None where it has none."""


def has_changed(visitor: Visitor, offered: str | None, verbs: Collection[str]) -> bool:
    """Whether the page's forms are to be replaced. Who may only look has none."""
    return visitor.acts and offered is not None and offered != " ".join(sorted(verbs))
