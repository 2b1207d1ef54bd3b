"""`python -m instance_service.cli.reference ROOT`: what the manual tells about the service's settings, commands and states."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import AliasChoices, AliasPath, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from instance_service.cli.root import app
from instance_service.domain.instances import TRANSITIONS, Status
from instance_service.observability.metrics import REGISTRY
from instance_service.settings import PREFIX, Settings

PAGE = "docs/reference/instance-service.md"

MEANINGS = {
    Status.PENDING: "accepted; its database is being asked for",
    Status.WAITING_FOR_DATABASE: "database-service makes room for its database; `last_error` says what is waited for",
    Status.STARTING: "its workload is told to run, with the credentials of now, and not yet well",
    Status.RUNNING: "its workload answers its health check, with the database where it is now",
    Status.UNHEALTHY: "its health check fails (`INSTANCES_HEALTH_FAILURES`); looked at more often, and back by itself",
    Status.STOPPING: "its workload is being ended",
    Status.STOPPED: "nothing runs; its database stays",
    Status.CHANGING_PLAN: "database-service changes the plan of its database; `progress` says how far that is",
    Status.ROTATING: "its database is being given a new login; the one before still works",
    Status.DELETING: "its workload is being removed, then its database released",
    Status.DELETED: "nothing of it is left here; database-service keeps the data for the plan's grace",
    Status.ERROR: "a budget is spent or database-service refused: `last_error` says which. It is still tried, every "
    "`INSTANCES_ERROR_RECHECK_S`, and comes back by itself when the cause is gone",
}


def page() -> str:
    return "\n".join([*_states(), *_settings(), *_metrics(), *_commands()]).rstrip() + "\n"


def _states() -> Iterator[str]:
    yield from ("# instance-service", "")
    yield "What it is for: [explanation](../explanation/instance-service.md). Its contract as a file:"
    yield from ("[instance-service-openapi.json](instance-service-openapi.json).", "", "## States", "")
    yield from ("| state | meaning | leads to |", "|---|---|---|")
    for status, following in TRANSITIONS.items():
        leads = " ".join(f"`{after}`" for after in Status if after in following) or "nothing"
        yield f"| `{status}` | {MEANINGS[status]} | {leads} |"


def _settings() -> Iterator[str]:
    yield from (
        "",
        "## Settings",
        "",
        "Read once, when a process starts. A variable that is empty counts as not set.",
        "",
    )
    yield from ("| variable | default | meaning |", "|---|---|---|")
    for name, field in Settings.model_fields.items():
        yield f"| `{_variable(name, field)}` | {_code(_default(field))} | {field.description} |"


def _metrics() -> Iterator[str]:
    yield from (
        "",
        "## Metrics",
        "",
        "At `GET /api/instances/metrics`, with the token; of the process that answers.",
        "",
    )
    yield from ("| metric | meaning |", "|---|---|")
    for metric in REGISTRY.collect():
        yield f"| `{metric.name}` | {metric.documentation} |"


def _commands() -> Iterator[str]:
    yield from ("", "## Commands", "", "`instances` ends with the codes that [`dbs`](cli.md) ends with.")
    for path, command in _walk(typer.main.get_command(app), "instances"):
        yield from ("", f"### `{path}`", "", (command.help or "").strip())
        shown = [parameter for parameter in command.params if parameter.name != "help"]
        if shown:
            yield from ("", "| | default | meaning |", "|---|---|---|", *map(_row, shown))


def _variable(name: str, field: FieldInfo) -> str:
    alias: str | AliasPath | AliasChoices | None = field.validation_alias
    return alias if isinstance(alias, str) else f"{PREFIX}{name.upper()}"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value is PydanticUndefined:
        return ""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Commands that do something, depth first; typer gives no public type for them."""
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if hasattr(child, "commands"):
            yield from _walk(child, f"{path} {name}")
        else:
            yield f"{path} {name}", child


def _row(parameter: Any) -> str:
    option = parameter.param_type_name == "option"
    name = ", ".join(parameter.opts) if option else (parameter.metavar or parameter.name.upper())
    default = "" if parameter.default in (None, False) or callable(parameter.default) else str(parameter.default)
    return f"| `{name}` | {_code(default)} | {parameter.help or ''} |"


if __name__ == "__main__":
    (Path(sys.argv[1]) / PAGE).write_text(page())
