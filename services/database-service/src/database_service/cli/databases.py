"""Commands for tenant databases."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from database_service.cli import render
from database_service.cli.client import LONGEST_WAIT_S, Answer, segment
from database_service.cli.exits import CommandFailed, Exit
from database_service.cli.session import Instance, Json, Yes, confirmed, finish, out, session, show_json
from database_service.domain.errors import ProvisioningFailed
from database_service.domain.plans import Tier
from database_service.domain.wording import size
from database_service.provisioners.runtime import PostgresRuntime

Wait = Annotated[int, typer.Option(help="Seconds to wait until it is ready.", min=0, max=LONGEST_WAIT_S, metavar="N")]


class CredentialsFormat(StrEnum):
    URI = "uri"
    ENV = "env"
    JSON = "json"
    JDBC = "jdbc"
    PGPASS = "pgpass"


def allocate(
    context: typer.Context,
    instance: Instance,
    customer: Annotated[str, typer.Option(help="The customer's id.")],
    plan: Annotated[Tier, typer.Option(help="The plan.")] = Tier.STARTER,
    dedicated: Annotated[bool, typer.Option("--dedicated", help="On a server of its own.")] = False,
    name: Annotated[str | None, typer.Option(help="The database's name; without it a short random one.")] = None,
    wait: Wait = 10,
    as_json: Json = False,
) -> None:
    """Get a database for an instance. The same request again gives the same database."""
    ask: dict[str, object] = {"instance_id": instance, "customer_id": customer, "plan_tier": plan}
    ask |= {"require_dedicated": True} if dedicated else {}
    ask |= {"database_name": name} if name else {}
    with session(context).client("Allocating") as client:
        answer = client.post("/allocate", ask, wait=wait)
    _show_allocation(answer, as_json=as_json)


def status(context: typer.Context, instance: Instance, wait: Wait = 0, as_json: Json = False) -> None:
    """Tell how a database is, where, and what it may use. With --wait, at its next change."""
    with session(context).client() as client:
        found = client.get(f"/databases/{segment(instance)}", wait=wait).body
    if as_json:
        show_json(found)
    else:
        render.facts(out, _status_facts(found))


def credentials(
    context: typer.Context,
    instance: Instance,
    how: Annotated[
        CredentialsFormat, typer.Option("--format", help="For which kind of client.")
    ] = CredentialsFormat.URI,
    as_json: Json = False,
) -> None:
    """Print the current credentials. Each read leaves an event."""
    path = f"/databases/{segment(instance)}/credentials"
    with session(context).client() as client:
        if as_json or how is CredentialsFormat.JSON:
            show_json(client.get(path).body)
        else:
            print(client.text(path, format=how.value).rstrip("\n"))


def psql(
    context: typer.Context,
    instance: Instance,
    more: Annotated[list[str] | None, typer.Argument(help="Arguments for psql, after `--`.")] = None,
) -> None:
    """Open psql on a database. The password travels in a file only you can read."""
    path = f"/databases/{segment(instance)}/credentials"
    with session(context).client() as client:
        found, line = client.get(path).body, client.text(path, format="pgpass")
    program = _psql(session(context).settings.postgres_bin_dir)
    with tempfile.TemporaryDirectory(prefix="dbs-psql-") as folder, _left_to_psql():
        files = _connection_files(Path(folder), found, line)
        ended = subprocess.run([program, *(more or [])], env=dict(os.environ) | files, check=False)  # noqa: S603, TID251  psql wants TERM, HOME, PAGER
    raise typer.Exit(ended.returncode)


def rotate(
    context: typer.Context,
    instance: Instance,
    overlap: Annotated[int | None, typer.Option(help="Seconds the old login stays valid.", min=0)] = None,
    as_json: Json = False,
) -> None:
    """Make a new login; the old one works until it expires."""
    body = {"overlap_seconds": overlap} if overlap is not None else {}
    with session(context).client("Rotating") as client:
        answer = client.post(f"/databases/{segment(instance)}/rotate", body)
    _show_allocation(answer, as_json=as_json)


def release(
    context: typer.Context,
    instance: Instance,
    why: Annotated[str | None, typer.Option(help="A word for the audit trail.")] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Close a database; its data is kept for the plan's grace and can be undeleted."""
    confirmed(f"Close the database of {instance}? Its sessions end now.", yes=yes)
    with session(context).client("Releasing") as client:
        answer = client.delete(f"/databases/{segment(instance)}", why=why)
    _show_change(answer.body, as_json=as_json)


def undelete(context: typer.Context, instance: Instance, as_json: Json = False) -> None:
    """Take a released database back, with its data and its credentials."""
    with session(context).client("Taking it back") as client:
        answer = client.post(f"/databases/{segment(instance)}/undelete")
    _show_allocation(answer, as_json=as_json)


def protect(context: typer.Context, instance: Instance, as_json: Json = False) -> None:
    """Protect a database against deletion."""
    _protection(context, instance, protected=True, as_json=as_json)


def unprotect(context: typer.Context, instance: Instance, as_json: Json = False) -> None:
    """Lift a database's protection against deletion."""
    _protection(context, instance, protected=False, as_json=as_json)


def register(app: typer.Typer) -> None:
    for command in (allocate, status, credentials, psql, rotate, release, undelete, protect, unprotect):
        app.command(rich_help_panel="Databases")(command)


def _protection(context: typer.Context, instance: str, *, protected: bool, as_json: bool) -> None:
    with session(context).client() as client:
        answer = client.post(f"/databases/{segment(instance)}/protection", {"protected": protected})
    _show_change(answer.body, as_json=as_json)


def _show_allocation(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        show_json(answer.body)
    elif answer.ready:
        render.facts(out, _allocation_facts(answer.body))
    else:
        render.facts(out, {name: answer.body.get(name) for name in ("instance_id", "database_status", "message")})
    finish(answer)


def _show_change(body: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(body)
        return
    shown = {name: body.get(name) for name in ("instance_id", "status", "protected")}
    render.facts(out, shown | {"kept until": render.moment(body.get("purge_after"))})


def _allocation_facts(body: Mapping[str, Any]) -> dict[str, object]:
    names = ("instance_id", "server_name", "db_host", "db_port", "db_name", "db_user", "db_password")
    return {name.removeprefix("db_"): body.get(name) for name in names}


def _status_facts(body: Mapping[str, Any]) -> dict[str, object]:
    names = ("instance_id", "customer_id", "status", "plan_tier", "server_type", "server_name", "server_status")
    more = ("server_health", "postgres_version", "db_host", "db_port", "db_name", "protected", "last_error")
    shown = {name.removeprefix("db_"): body.get(name) for name in (*names, *more)}
    logins = ", ".join(_login(login) for login in body.get("logins", []))
    used = _storage(body["usage"]) if body.get("usage") else None
    return shown | {"storage": used, "logins": logins, "kept until": render.moment(body.get("purge_after"))}


def _storage(usage: Mapping[str, Any]) -> str | None:
    if usage["size_bytes"] is None:
        return None
    told = f"{size(usage['size_bytes'])} of {size(usage['storage_bytes'])}, {usage['state']}"
    return f"{render.bar(usage['size_percent'] / 100)} {told}{' (its door is shut)' if usage['door_shut'] else ''}"


def _login(login: Mapping[str, Any]) -> str:
    until = render.moment(login.get("expires_at"))
    return f"{login['db_user']} (until {until})" if until else str(login["db_user"])


def _connection_files(folder: Path, found: Mapping[str, Any], pgpass: str) -> dict[str, str]:
    """Write the connection for libpq into a folder only we can enter; gives the variables that name it."""
    keys = {"host": "db_host", "port": "db_port", "dbname": "db_name", "user": "db_user"}
    lines = ["[database]", *(f"{key}={found[name]}" for key, name in keys.items())]
    for name, text in (("service", "\n".join(lines) + "\n"), ("pgpass", pgpass)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    return {"PGSERVICEFILE": str(folder / "service"), "PGSERVICE": "database", "PGPASSFILE": str(folder / "pgpass")}


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _left_to_psql() -> Iterator[None]:
    """Ctrl-C ends a statement in psql, not us: we still have its files to remove, also when the terminal closes."""
    handlers = {signal.SIGINT: lambda _number, _frame: None, signal.SIGHUP: _end, signal.SIGTERM: _end}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _psql(bin_dir: Path | None) -> Path:
    try:
        return PostgresRuntime.find(bin_dir).bin_dir / "psql"
    except ProvisioningFailed as e:
        raise CommandFailed(
            f"There is no psql here: {e} `dbs credentials INSTANCE` gives a URI for another.", Exit.FAILURE
        ) from e
