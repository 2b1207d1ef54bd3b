"""The tutorial of instances, done as it is printed, and once more started: what it made is there again."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from docs.test_tutorial import INSTALLED, checkout, environment, press_ctrl_c
from e2e.conftest import READY, Stack, left_of, put_down
from support.cluster import free_ports_in_a_row
from support.pages import DOCS, Shell, follow, outputs_of, says, steps_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

PAGE = DOCS / "tutorial" / "first-instance.md"
AGAIN_S = 60

__all__ = ["checkout"]


@contextmanager
def first_terminal(checkout: Path, port: int) -> Iterator[Stack]:
    log = checkout / f"first-terminal-{time.monotonic_ns()}"
    command = steps_of(PAGE.read_text())[0].command.split()[1:]
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "-o", INSTALLED, *command, f"PORT={port}"],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=checkout,
            env=environment(),
            start_new_session=True,
        )
    stack = Stack(checkout / ".data", port, process, log)
    try:
        stack.until(READY)
        yield stack
    finally:
        put_down(stack)


def the_list(url: str) -> str:
    """The page of the application, when it is back."""
    deadline = time.monotonic() + AGAIN_S
    while True:
        try:
            return httpx.get(url).raise_for_status().text
        except httpx.HTTPError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_every_step_does_what_is_printed_and_a_second_start_finds_it_again(checkout: Path) -> None:
    start, *steps = steps_of(PAGE.read_text())
    port = free_ports_in_a_row(2)
    with first_terminal(checkout, port) as terminal:
        assert says(start.said or "", terminal.output), terminal.output
        here = environment() | {"DATABASE_SERVICE_URL": terminal.url}
        with Shell(checkout, port, here) as second_terminal:
            follow(PAGE, second_terminal, steps)
            url = second_terminal.run("echo $URL")[0].strip()
        press_ctrl_c(terminal)
        *_, stopped = outputs_of(PAGE.read_text())
        assert says(f"…\n{stopped}\n…", terminal.output), terminal.output
        assert left_of(checkout / ".data") == []

    with first_terminal(checkout, port) as terminal:
        assert "buy milk" in the_list(url)
    assert left_of(checkout / ".data") == []
