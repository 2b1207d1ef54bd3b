"""Work that takes longer than a second, shown while it goes on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Steps:
    """One line for each finished step, with its seconds; on a terminal, a spinner while it goes on."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        began = time.monotonic()
        with self.console.status(f"{doing} …"):
            yield
        took = time.monotonic() - began
        self.console.print(f"[green]✓[/green] {done} [dim]{took:.1f} s[/dim]", highlight=False)
