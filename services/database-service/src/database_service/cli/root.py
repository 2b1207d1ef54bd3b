"""`dbs`: the root of all commands, their common options, and how each way to fail is said."""

import asyncio
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated

import typer

from database_service.cli import (
    admin,
    authorities,
    changes,
    databases,
    drift,
    keys,
    moves,
    neighbours,
    operations,
    pools,
    recovery,
    render,
    requests,
    serve,
    trail,
)
from database_service.cli.exits import CommandFailed, Exit
from database_service.cli.session import Json, Session, err, out, session, show_json
from database_service.cli.signals import interruptible, silent
from database_service.domain.errors import InvalidField, ServiceError, Unavailable
from database_service.secretbox import new_key
from database_service.settings import Settings, SettingsError, load_settings

app = typer.Typer(
    name="dbs",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="PostgreSQL databases on demand. `dbs up` runs the whole system here; the other commands talk to its API.",
)
INTERRUPTED = 130
"""What a shell expects of a command that Ctrl-C ended."""


@app.callback()
def root(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="Where the API is; else DATABASE_SERVICE_URL.")] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with an API token; else DATABASE_SERVICE_TOKEN_FILE, else DATA_DIR/admin.token."),
    ] = None,
) -> None:
    if not isinstance(context.obj, Session):
        context.obj = Session(load_settings())
    context.obj.url = url or context.obj.url
    context.obj.token_file = token_file or context.obj.token_file


@app.command(rich_help_panel="Run it")
def up(
    context: typer.Context,
    pools: Annotated[int, typer.Option(help="Pools to start with.", min=0, max=50)] = 1,
    port: Annotated[int | None, typer.Option(help="The API's port; else API_PORT.", min=1, max=65535)] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept; else DATA_DIR.")] = None,
    with_instances: Annotated[
        bool, typer.Option("--with-instances", help="Run instance-service too, which runs applications on databases.")
    ] = False,
    instances_port: Annotated[
        int | None, typer.Option(help="Its port; else the one after the API's.", min=1, max=65535)
    ] = None,
) -> None:
    """Run the whole system on this machine, with a first database, until Ctrl-C."""
    with silent():
        from database_service.cli.up import up as run_up  # noqa: PLC0415  as in migrate

    try:
        with interruptible():
            settings = _with(session(context).settings, port, data_dir)
            beside = (instances_port or settings.api_port + 1) if with_instances else None
            run_up(settings, pools, out, beside)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


@app.command("migrate", rich_help_panel="Run it")
def migrate_command(
    context: typer.Context,
    to: Annotated[
        str, typer.Option(help="The revision to go to, forward or back; `base` is before the first.")
    ] = "head",
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail where the schema is not the newest.")
    ] = False,
) -> None:
    """Bring the control plane's own database to the newest schema. Two at once do no harm."""
    # Alembic takes most of a second to import, which no other command should pay.
    from database_service.store.migrate import migrate, revisions  # noqa: PLC0415

    dsn = session(context).settings.database_dsn()
    if check:
        has, newest = asyncio.run(revisions(dsn))
        out.print(f"The schema is at {has}; the newest is {newest}.", highlight=False)
        raise typer.Exit(Exit.OK if has == newest else Exit.FAILURE)
    before, after = asyncio.run(migrate(dsn, to))
    out.print(f"The schema is at {after}{'' if before == after else f'; it was at {before}'}.", highlight=False)


@app.command("doctor", rich_help_panel="Run it")
def doctor_command(context: typer.Context, as_json: Json = False) -> None:
    """Look at everything the system needs, and say what to do where something is wrong."""
    from database_service.cli import doctor  # noqa: PLC0415  as in migrate

    found = []
    for finding in doctor.examine(session(context).settings, session(context).address):
        found.append(finding)
        if not as_json:
            sign = "[green]✓[/green]" if finding.ok else "[red]✗[/red]"
            out.print(sign, f"{finding.subject}:", render.said(finding.told), highlight=False)
    if as_json:
        show_json(doctor.as_json(found))
    raise typer.Exit(Exit.OK if all(finding.ok for finding in found) else Exit.FAILURE)


@app.command("new-key", rich_help_panel="Run it")
def new_key_command(
    key_id: Annotated[
        str, typer.Argument(help="The key's id, of your choice; it is stored with what it seals.")
    ] = "k1",
) -> None:
    """Print a fresh entry for SECRET_KEYS."""
    if "," in key_id or ":" in key_id or not 0 < len(key_id) <= 32:
        raise CommandFailed("A key's id has 1 to 32 characters, no comma and no colon.", Exit.USAGE)
    print(new_key(key_id))


@app.command(rich_help_panel="Run it")
def version() -> None:
    """Print the version."""
    print(version_of("database-service"))


app.add_typer(serve.app, name="serve", rich_help_panel="Run it")
databases.register(app)
changes.register(pools.app)
moves.register(app, pools.app)
app.add_typer(pools.app, name="pools", rich_help_panel="Fleet")
app.add_typer(drift.app, name="drift", rich_help_panel="Fleet")
app.add_typer(operations.app, name="operations", rich_help_panel="Fleet")
app.add_typer(trail.app, name="events", rich_help_panel="Fleet")
app.add_typer(requests.app, name="requests", rich_help_panel="Fleet")
app.add_typer(keys.app, name="keys", rich_help_panel="Fleet")
app.add_typer(authorities.app, name="ca", rich_help_panel="Fleet")
neighbours.register(app)
admin.register(app)
recovery.register(app)


def main(arguments: list[str] | None = None, given: Session | None = None) -> None:
    """Run a command and end the process with its code. `given` replaces what the environment says, for tests."""
    asked = sys.argv[1:] if arguments is None else arguments
    try:
        app(asked, prog_name="dbs", obj=given)
    except CommandFailed as e:
        _say(str(e), e.problem if "--json" in asked else None)
        raise SystemExit(e.code) from None
    except (SettingsError, ServiceError) as e:
        _say(str(e))
        raise SystemExit(_code(e)) from None


def _say(sentence: str, problem: dict[str, object] | None = None) -> None:
    if problem:
        show_json(problem)
    err.print(f"[red]✗[/red] {_escaped(sentence)}", highlight=False, soft_wrap=True)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


def _code(error: Exception) -> Exit:
    match error:
        case Unavailable():
            return Exit.UNAVAILABLE
        case InvalidField() | SettingsError():
            return Exit.USAGE
        case _:
            return Exit.FAILURE


def _with(settings: Settings, port: int | None, data_dir: Path | None) -> Settings:
    asked: dict[str, object] = {"api_port": port} if port else {}
    asked |= {"data_dir": data_dir.expanduser().absolute()} if data_dir else {}
    return settings.model_copy(update=asked)
