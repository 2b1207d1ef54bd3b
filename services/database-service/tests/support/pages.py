"""Pages of the manual as programs: their `bash` blocks are run as printed, their `output` blocks are what must be said.

In an `output` block `…` stands for anything on its line, with the spaces around it, and a line that is only `…` for any
number of lines. Runs of spaces count as one. Blocks of any other kind are for reading only.
"""

import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

REPOSITORY = Path(__file__).parents[4]
DOCS = REPOSITORY / "docs"
PRINTED_PORT, PRINTED_NEXT_PORT = ":8005", ":8006"
PATIENCE_S = 90
"""A page that waits until something is so would wait for ever where it never is."""

_BLOCK = re.compile(r"^```(bash|output)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DONE = "-- done"


@dataclass(frozen=True, slots=True)
class Step:
    """One `bash` block, and the `output` block after it; None where the page does not show what is said."""

    command: str
    said: str | None
    line: int


def steps_of(text: str) -> list[Step]:
    """The page's commands in order."""
    blocks = [(m[1], m[2], text.count("\n", 0, m.start()) + 1) for m in _BLOCK.finditer(text)]
    following = [*blocks, ("", "", 0)][1:]
    return [
        Step(command, said if after == "output" else None, line)
        for (kind, command, line), (after, said, _) in zip(blocks, following, strict=True)
        if kind == "bash"
    ]


def outputs_of(text: str) -> list[str]:
    return [m[2] for m in _BLOCK.finditer(text) if m[1] == "output"]


def pattern_of(said: str) -> re.Pattern[str]:
    """What an `output` block allows."""
    lines = (r"(?:.*\n)*" if line == "…" else _line_pattern(line) + r"\n" for line in _lines(said))
    return re.compile("".join(lines))


def _line_pattern(line: str) -> str:
    return ".*".join(re.escape(part.strip(" ")) for part in line.split("…"))


def says(said: str, output: str) -> bool:
    return pattern_of(said).fullmatch("".join(f"{line}\n" for line in _lines(output))) is not None


def _lines(text: str) -> Iterator[str]:
    return (squeezed for line in text.splitlines() if (squeezed := " ".join(line.split())))


class Shell:
    """One bash for a whole page, so that a variable set in one block is known in the next."""

    def __init__(self, folder: Path, port: int, environment: Mapping[str, str]) -> None:
        self._port = port
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()
        self._bash.communicate()

    def _end(self) -> None:
        os.killpg(self._bash.pid, signal.SIGKILL)

    def run(self, command: str) -> tuple[str, int]:
        """Everything it said, and the code it ended with. The port on the page becomes that of the system under test, and the
        one after it the one after."""
        there = command.replace(PRINTED_PORT, f":{self._port}").replace(PRINTED_NEXT_PORT, f":{self._port + 1}")
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as block:
            block.write(there)
            block.flush()
            patience = threading.Timer(PATIENCE_S, self._end)
            patience.start()
            self._send(f'. {block.name} </dev/null; printf "\\n%s %s\\n" "{_DONE}" $?\n')
            try:
                return self._answer()
            finally:
                patience.cancel()

    def _send(self, line: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(line)
        self._bash.stdin.flush()

    def _answer(self) -> tuple[str, int]:
        assert self._bash.stdout is not None
        output = ""
        for line in self._bash.stdout:
            if line.startswith(_DONE):
                return output, int(line.removeprefix(_DONE))
            output += line
        raise AssertionError(f"the shell ended: {output}")


def follow(page: Path, shell: Shell, steps: list[Step] | None = None) -> None:
    """Do what the page says. AssertionError names the line of the first block that does not do what is printed."""
    for step in steps_of(page.read_text()) if steps is None else steps:
        output, code = shell.run(step.command)
        where = f"{page.name}:{step.line}\n{step.command}\n{output}"
        if step.said is None:
            assert code == 0, f"exit {code}: {where}"
        else:
            assert says(step.said, output), f"{where}\nbut the page says\n{step.said}"
