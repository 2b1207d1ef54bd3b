"""The reader of pages bites: what is not printed is not accepted."""

from pathlib import Path

import pytest

from support import pages
from support.pages import Shell, Step, follow, says, steps_of

PAGE = """
```bash
NAME=world
```

```bash
echo "hello $NAME"
```

```output
hello …
```

```text
never run
```
"""


@pytest.mark.parametrize(
    ("said", "output"),
    [
        ("one\ntwo", "one\ntwo\n"),
        ("pool-…  active", "pool-x1   active"),
        ("a\n…\nd", "a\nb\nc\nd"),
        ("a\n…\nd", "a\nd"),
        ("(1 row)", "(1 row)\n\n"),
    ],
)
def test_what_is_printed_is_accepted(said: str, output: str) -> None:
    assert says(said, output)


@pytest.mark.parametrize(
    ("said", "output"),
    [("one", "one\ntwo"), ("one\ntwo", "one"), ("status  ready", "status  released"), ("a … c", "a b d")],
)
def test_what_is_not_printed_is_refused(said: str, output: str) -> None:
    assert not says(said, output)


def test_only_commands_are_run_and_the_output_belongs_to_the_one_before() -> None:
    assert [(step.command, step.said) for step in steps_of(PAGE)] == [
        ("NAME=world\n", None),
        ('echo "hello $NAME"\n', "hello …\n"),
    ]


def test_a_page_is_one_shell(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    with Shell(tmp_path, 1, {"PATH": "/usr/bin:/bin"}) as shell:
        follow(page, shell, steps_of(PAGE))


@pytest.mark.parametrize("step", [Step("false", None, 1), Step("echo other", "one", 1), Step("exit 3", None, 1)])
def test_a_command_that_does_something_else_is_found_out(tmp_path: Path, step: Step) -> None:
    with Shell(tmp_path, 1, {"PATH": "/usr/bin:/bin"}) as shell, pytest.raises(AssertionError):
        follow(tmp_path / "page.md", shell, [step])


def test_a_command_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PATIENCE_S", 0.2)
    with Shell(tmp_path, 1, {"PATH": "/usr/bin:/bin"}) as shell, pytest.raises(AssertionError):
        shell.run("until false; do sleep 0.1; done")
