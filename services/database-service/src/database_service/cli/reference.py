"""`python -m database_service.cli.reference ROOT`: what the manual and the example tell about settings and commands."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from database_service.cli.exits import MEANINGS
from database_service.cli.root import app
from database_service.settings import Settings

CONFIGURATION = "docs/reference/configuration.md"
COMMANDS = "docs/reference/cli.md"
EXAMPLE = ".env.swarm"
CHANGE_ME = "change-me"
_IN_THE_STACK = {
    "environment": "production",
    "postgres_host": "postgres",
    "postgres_database_service_password": CHANGE_ME,
    "celery_broker_url": f"redis://:{CHANGE_ME}@valkey:6379/0",
    "secret_keys": CHANGE_ME,
    "admin_token": CHANGE_ME,
    "api_host": "0.0.0.0",  # noqa: S104  in a container
    "database_service_url": "http://database-service:8005",
    "data_dir": "/var/lib/database-service",
}
"""What differs from the defaults in a stack; the secrets are ones that start-up refuses."""


def write(root: Path) -> None:
    for name, text in {CONFIGURATION: configuration(), COMMANDS: commands(), EXAMPLE: example()}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def configuration() -> str:
    """Every setting as a table."""
    lines = [
        "# Configuration",
        "",
        "The service reads its environment once, when it starts. A variable that is empty counts as not set. Secrets may be",
        "given as files: `NAME_FILE` names a file with `NAME`. Outside development, example secrets are refused.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{name.upper()}` | {_code(_default(field))} | {field.description} |" for name, field in _fields()]
    return "\n".join(lines) + "\n"


def example() -> str:
    """Every setting as an environment file for a stack; what need not be set is commented out."""
    lines = [
        "# Every setting of the stack. What is commented out shows its default.",
        "# Replace each `change-me`: the service refuses to start with it. Better, give secrets as files (…_FILE).",
    ]
    for name, field in _fields():
        lines += ["", f"# {field.description}", _assignment(name, field)]
    return "\n".join(lines) + "\n"


def commands() -> str:
    """Every command with its arguments, options and exit codes."""
    lines = ["# Commands", ""]
    lines += [
        "`dbs` ends with one of these codes; with `--json` it prints what the API said.",
        "",
        "| code | meaning |",
        "|---|---|",
    ]
    lines += [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    lines += ["", "These options come before the command:", "", *_parameters(typer.main.get_command(app))]
    for path, command in _walk(typer.main.get_command(app), "dbs"):
        lines += ["", f"## `{path}`", "", (command.help or "").strip(), "", *_parameters(command)]
    return "\n".join(lines).rstrip() + "\n"


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    yield from Settings.model_fields.items()


def _assignment(name: str, field: FieldInfo) -> str:
    if name in _IN_THE_STACK:
        return f"{name.upper()}={_IN_THE_STACK[name]}"
    return f"#{name.upper()}={_default(field)}"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Commands that do something, depth first; typer gives no public type for them."""
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if hasattr(child, "commands"):
            yield from _walk(child, f"{path} {name}")
        else:
            yield f"{path} {name}", child


def _parameters(command: Any) -> list[str]:
    shown = [parameter for parameter in command.params if parameter.name != "help"]
    if not shown:
        return []
    return ["| | default | meaning |", "|---|---|---|", *(_row(parameter) for parameter in shown)]


def _row(parameter: Any) -> str:
    names = (
        ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        if parameter.param_type_name == "option"
        else ""
    )
    default = "" if parameter.default in (None, False) or callable(parameter.default) else str(parameter.default)
    return (
        f"| {names or f'`{parameter.metavar or parameter.name.upper()}`'} | {_code(default)} | {parameter.help or ''} |"
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
