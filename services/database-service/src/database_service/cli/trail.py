"""`dbs events`: the audit trail, and whether it still says what was written."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from database_service.cli import render
from database_service.cli.client import Client
from database_service.cli.exits import Exit
from database_service.cli.session import Json, out, session, show_json

app = typer.Typer(help="The audit trail: who changed what, and whether it still says so.")


@app.command("ls")
@app.callback(invoke_without_command=True)
def events(
    context: typer.Context,
    instance: Annotated[str | None, typer.Option(help="Only this instance's.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Only those of this server, database, token or drift (its id).")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many, the newest.", min=1, max=200)] = 30,
    as_json: Json = False,
) -> None:
    """The audit trail, newest first; `dbs events` alone is the same."""
    if context.invoked_subcommand:
        return
    with session(context).client() as client:
        found = client.get("/admin/events", instance_id=instance, subject_id=subject, limit=limit).body
    if as_json:
        show_json(found)
        return
    rows = (event | {"when": render.moment(event["at"])} for event in found["events"])
    render.rows(out, rows, ("when", "actor", "action", "instance_id", "before", "after", "why"))


@app.command()
def verify(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option(help="The head that an earlier verification told: go on from there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Walk the audit trail; fail where an event was changed, removed or inserted, and name the first."""
    with session(context).client("Verifying") as client:
        found = _to_the_end(client, since)
    if as_json:
        show_json(found)
    else:
        _show(found)
    raise typer.Exit(Exit.OK if found["ok"] else Exit.FAILURE)


def _to_the_end(client: Client, since: str | None) -> Mapping[str, Any]:
    verified, found = 0, client.get("/admin/events/verification", since=since).body
    while found["ok"] and not found["complete"]:
        verified += found["verified"]
        found = client.get("/admin/events/verification", since=found["head"]).body
    return found | {"verified": verified + found["verified"]}


def _show(found: Mapping[str, Any]) -> None:
    told = found["fault"]["told"] if found["fault"] else "as it was written"
    seen = {"trail": told, "verified": found["verified"], "not linked yet": found["unlinked"]}
    render.facts(out, seen | {"head": found["head"] or "none yet"})
