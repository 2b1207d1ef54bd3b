"""`instances`: the root of all commands, and how each way to fail is said."""

import asyncio
import sys
from importlib.metadata import version as version_of

import typer

from instance_service.cli import instances, serve
from instance_service.cli.exits import CommandFailed, Exit
from instance_service.domain.errors import WorkloadFailed
from instance_service.settings import SettingsError, load_settings

app = typer.Typer(
    name="instances",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Instances of applications, each with a database of its own from database-service.",
)


@app.command()
def version() -> None:
    """Print the version."""
    print(version_of("instance-service"))


@app.command()
def halt() -> None:
    """End every workload that is a process of this machine, once no worker runs. The next worker begins them again."""
    from instance_service.wiring import halt_workloads  # noqa: PLC0415  no other command pays for it

    try:
        asyncio.run(halt_workloads(load_settings()))
    except WorkloadFailed as e:
        raise CommandFailed(str(e)) from None


app.add_typer(serve.app, name="serve")
instances.register(app)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and end the process with its code."""
    try:
        app(arguments, prog_name="instances")
    except CommandFailed as e:
        print(f"✗ {e}", file=sys.stderr)
        raise SystemExit(e.code) from None
    except SettingsError as e:
        print(f"✗ {e}", file=sys.stderr)
        raise SystemExit(Exit.USAGE) from None
