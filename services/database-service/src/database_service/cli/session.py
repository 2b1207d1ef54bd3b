"""What every command that talks to the API needs: where it is, who asks, and how to say the answer."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from database_service.cli.client import Answer, Client
from database_service.cli.exits import CommandFailed, Exit
from database_service.domain.secret import Secret
from database_service.settings import Settings

_PIPE_WIDTH = 200
"""Columns where nobody looks at a terminal: grep wants whole lines."""

out = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
err = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print the API's answer as JSON, for programs.")]
Instance = Annotated[str, typer.Argument(help="The instance's id.", metavar="INSTANCE")]
Confirm = Annotated[str | None, typer.Option(help="The code of a report you have already read.", metavar="CODE")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@dataclass(slots=True)
class Session:
    """Filled by the options before the command. `transport` is another way to reach the API, for tests."""

    settings: Settings
    url: str | None = None
    token_file: Path | None = None
    transport: httpx.BaseTransport | None = None

    @contextmanager
    def client(self, doing: str = "Asking") -> Iterator[Client]:
        """The API, with a spinner on a terminal for as long as it takes."""
        with Client(self.address, self._token(), self.transport) as client, err.status(f"{doing} …"):
            yield client

    @property
    def address(self) -> str:
        return self.url or self.settings.database_service_url

    def _token(self) -> Secret | None:
        given = self.token_file or self.settings.database_service_token_file
        path = given or self.settings.data_dir / "admin.token"
        try:
            return _one_token(path)
        except OSError as e:
            if given is None and isinstance(e, FileNotFoundError):
                return None  # the API will say that it wants one
            raise CommandFailed(f"The token file {path} cannot be read: {e.strerror}.", Exit.USAGE) from e


def _one_token(path: Path) -> Secret:
    """What could be sent as a token; whether it is one, the API knows. OSError where it cannot be read."""
    text = path.read_bytes().strip()
    if not text.isascii() or not text.decode("ascii").isprintable() or len(text.split()) != 1:
        raise CommandFailed(f"The token file {path} does not hold one API token.", Exit.USAGE)
    return Secret(text.decode("ascii"))


def session(context: typer.Context) -> Session:
    """The session of this command."""
    found = context.find_object(Session)
    assert found is not None  # noqa: S101  the root callback always makes it
    return found


def show_json(body: Mapping[str, Any]) -> None:
    print(json.dumps(body, indent=2, ensure_ascii=False))


def finish(answer: Answer) -> None:
    """End with the code that says whether it is ready."""
    if not answer.ready:
        raise typer.Exit(Exit.NOT_READY)


def confirmed(question: str, *, yes: bool) -> None:
    """Ask before what cannot be taken back; without a terminal, `--yes` is needed."""
    if yes:
        return
    if not err.is_terminal:
        raise CommandFailed(f"{question} Say so with --yes.", Exit.USAGE)
    if not typer.confirm(question, err=True):
        raise typer.Abort
