"""The tutorial, done as it is printed: `make run` in one terminal, every command in a second one, Ctrl-C at the end.

Only the port is another one, and make is told that everything is installed, which here is true.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import READY, STOP_S, Stack, left_of, put_down
from support.cluster import free_port
from support.folders import open_folder
from support.pages import DOCS, REPOSITORY, Shell, follow, outputs_of, says, steps_of

pytestmark = pytest.mark.stack

PAGE = DOCS / "tutorial" / "first-database.md"
INSTALLED = ".venv/.installed-run"


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TERM")}


@pytest.fixture
def checkout() -> Iterator[Path]:
    """The repository as the tutorial's reader has it, without any data yet."""
    with open_folder() as folder:
        (folder / ".venv").symlink_to(sys.prefix)
        (folder / "Makefile").symlink_to(REPOSITORY / "Makefile")
        for name in ("requirements", "services", "clients", "examples"):
            (folder / name).symlink_to(REPOSITORY / name)
        yield folder


@pytest.fixture
def first_terminal(checkout: Path) -> Iterator[Stack]:
    port, log = free_port(), checkout / "first-terminal"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "-o", INSTALLED, *first_command().split()[1:], f"PORT={port}"],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=checkout,
            env=environment(),
            start_new_session=True,
        )
    stack = Stack(checkout / ".data", port, process, log)
    try:
        yield stack
    finally:
        put_down(stack)


def first_command() -> str:
    return steps_of(PAGE.read_text())[0].command


def press_ctrl_c(stack: Stack) -> None:
    """A terminal sends it to everything in the foreground."""
    os.killpg(stack.process.pid, signal.SIGINT)
    stack.process.wait(STOP_S)


def test_it_has_twelve_numbered_steps() -> None:
    numbers = re.findall(r"^## (\d+)\. ", PAGE.read_text(), re.MULTILINE)
    assert numbers == [str(n) for n in range(1, 13)]


def test_every_step_does_what_is_printed(checkout: Path, first_terminal: Stack) -> None:
    start, *steps = steps_of(PAGE.read_text())
    first_terminal.until(READY)
    assert says(start.said or "", first_terminal.output), first_terminal.output

    here = environment() | {"DATABASE_SERVICE_URL": first_terminal.url}
    with Shell(checkout, first_terminal.port, here) as second_terminal:
        follow(PAGE, second_terminal, steps)

    press_ctrl_c(first_terminal)
    *_, stopped = outputs_of(PAGE.read_text())
    assert says(f"…\n{stopped}\n…", first_terminal.output), first_terminal.output
    assert left_of(checkout / ".data") == []
