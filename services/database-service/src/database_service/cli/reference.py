"""`python -m database_service.cli.reference ROOT`: what the manual and the example tell about settings and commands."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from database_service.api import authorisation
from database_service.api.app import routes
from database_service.cli.exits import MEANINGS
from database_service.cli.root import app
from database_service.cli.stack_variables import OTHER_DEFAULTS, SET_BY_STACK, VARIABLES
from database_service.settings import SECRET_NAMES, Settings

CONFIGURATION = "docs/reference/configuration.md"
COMMANDS = "docs/reference/cli.md"
AUTHORISATION = "docs/reference/authorisation.md"
EXAMPLE = ".env.swarm"


def write(root: Path) -> None:
    pages = {
        CONFIGURATION: configuration(), COMMANDS: commands(), AUTHORISATION: authorised(), EXAMPLE: example(),
    }  # fmt: skip
    for name, text in pages.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def authorised() -> str:
    """Every operation with what it answers to whom."""
    return authorisation.page(routes())


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
    lines += [
        "",
        "## The stack",
        "",
        "Read by `make stack-deploy` and the files in `infrastructure/compose`, from the environment or from the file that",
        "`ENV=` names; `.env.swarm` shows all of them. The stack itself sets "
        + ", ".join(f"`{name.upper()}`" for name in sorted(SET_BY_STACK))
        + ", and gives secrets as files.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{v.name}` | {_code(v.default)} | {v.description} |" for v in VARIABLES]
    return "\n".join(lines) + "\n"


def example() -> str:
    """Every variable of the stack and every setting as an environment file; what need not be set is commented out."""
    lines = [
        "# Every variable of the stack (`make stack-deploy`). What is commented out shows its default.",
        "# No secret belongs in here, as containers carry all of this: secrets are files, see SECRETS_DIR.",
        "",
        "# -- the stack " + "-" * 100,
    ]
    for variable in VARIABLES:
        lines += ["", f"# {variable.description}", f"#{variable.name}={variable.default}"]
    lines += ["", "# -- the service " + "-" * 98]
    for name, field in _fields():
        if not _is_secret(name) and name not in SET_BY_STACK:
            lines += ["", f"# {field.description}", f"#{name.upper()}={OTHER_DEFAULTS.get(name, _default(field))}"]
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


def _is_secret(name: str) -> bool:
    return name.removesuffix("_file") in SECRET_NAMES


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
