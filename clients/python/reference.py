"""`python clients/python/reference.py FILE`: the client's methods and errors as a page of the manual."""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from database_service_client import client, errors
from database_service_client.models import Credentials
from database_service_client.testing import FakeDatabaseService
from database_service_client.verb import stream, verb

INTRODUCTION = """\
# Python client

Package `database-service-client`; how it is used is shown in [A database from Python](../tutorial/use-from-python.md).
What is told here of `DatabaseService` holds for `AsyncDatabaseService`: its methods are awaited, and what is iterated
is iterated with `async for`."""


def page() -> str:
    sections = [INTRODUCTION, *_opening()]
    sections += _section("The client", "service", client.DatabaseService)
    sections += _section("Operations", "service.operations", client.Operations)
    sections += _section("An operation", "operation", client.Operation)
    sections += _section("For operators", "service.admin", client.Admin)
    sections += _section("Credentials", "credentials", Credentials)
    sections += ["## Errors", _doc(errors.ApiError), _table(_codes()), "Others:", _table(_others())]
    sections += _section("For tests", "fake", FakeDatabaseService, _doc(FakeDatabaseService))
    return "\n\n".join(sections) + "\n"


def _opening() -> Iterator[str]:
    yield f"## Opening\n\n{_doc(client.DatabaseService)}"
    yield f"```text\nDatabaseService{_signature(client.DatabaseService.__init__)}\n```"


def _section(title: str, name: str, holder: type, about: str = "") -> Iterator[str]:
    yield f"## {title}"
    if about:
        yield about
    for method, steps in _methods(holder):
        yield f"### {name}.{method}\n\n```text\n{method}{_signature(steps)}\n```\n\n{_doc(steps)}"


def _methods(holder: type) -> Iterator[tuple[str, Any]]:
    """Those that are for callers, in the order they are written."""
    for kind in reversed(holder.__mro__):
        for name, member in vars(kind).items():
            steps = member.steps if isinstance(member, verb | stream) else member
            if not name.startswith("_") and inspect.isfunction(steps) and steps.__doc__:
                yield name, steps


def _signature(steps: Any) -> str:
    """As it is written, and as a caller sees it: what a verb's steps give is what it gives."""
    [written] = ast.parse(textwrap.dedent(inspect.getsource(steps))).body
    assert isinstance(written, ast.FunctionDef)  # noqa: S101  what inspect finds the source of is one
    taken = ast.unparse(written.args).removeprefix("self").removeprefix(", ")
    given = ast.unparse(written.returns) if written.returns else "None"
    if found := re.fullmatch(r"(Steps|Stream)\[(.*)\]", given):
        given = found[2] if found[1] == "Steps" else f"Iterator[{found[2]}]"
    return re.sub(r"\bOp\b", "Operation", f"({taken})" + (f" -> {given}" if given != "None" else ""))


def _codes() -> Iterator[tuple[str, ...]]:
    yield "error", "code", "meaning"
    yield from ((f"`{kind.__name__}`", f"`{code}`", _doc(kind)) for code, kind in sorted(errors.BY_CODE.items()))


def _others() -> Iterator[tuple[str, ...]]:
    yield "error", "meaning"
    for kind in vars(errors).values():
        if (
            inspect.isclass(kind)
            and issubclass(kind, errors.DatabaseServiceError)
            and not issubclass(kind, errors.ApiError)
        ):
            yield f"`{kind.__name__}`", _doc(kind)


def _table(rows: Iterator[tuple[str, ...]]) -> str:
    head, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rest))


def _doc(of: Any) -> str:
    return inspect.getdoc(of) or ""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
