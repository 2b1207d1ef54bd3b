"""Answers of the API as a person reads them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_COLOURS = {
    "ready": "green",
    "active": "green",
    "healthy": "green",
    "succeeded": "green",
    "running": "cyan",
    "spare": "cyan",
    "full": "yellow",
    "warning": "yellow",
    "critical": "yellow",
    "degraded": "yellow",
    "maintenance": "yellow",
    "undoing": "yellow",
    "paused": "yellow",
    "failed": "red",
    "stopped": "red",
    "unhealthy": "red",
    "error": "red",
}


def facts(console: Console, pairs: Mapping[str, object]) -> None:
    """Names and values, one a line; what is not known is left out."""
    table = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        if value is not None and value != "":
            table.add_row(Text(name, style="bold"), said(value))
    console.print(table)


def rows(console: Console, found: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """One line for each; a column is a field's name."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in found:
        table.add_row(*(said(row.get(column)) for column in columns))
    console.print(table)


def said(value: object) -> Text:
    """A value as text: never as markup, since names come from callers."""
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    text = str(value)
    return Text(text, style=_COLOURS.get(text, ""))


def bar(share: float, width: int = 20) -> str:
    """A share as `█████░░░░░`; one that is more than the whole is shown as the whole."""
    full = round(min(max(share, 0), 1) * width)
    return "█" * full + "░" * (width - full)


def moment(told: str | None) -> str | None:
    """A time of the API (ISO 8601, UTC) to the second."""
    return datetime.fromisoformat(told).strftime("%Y-%m-%d %H:%M:%S UTC") if told else None
