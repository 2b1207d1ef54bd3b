"""`dbs ca`: who vouches for servers that speak TLS."""

from typing import Annotated

import typer

from database_service.cli import render
from database_service.cli.session import Json, err, out, session, show_json

DAY_S = 86400
app = typer.Typer(no_args_is_help=True, help="Who vouches for servers that speak TLS.")


@app.command("ls")
def list_authorities(context: typer.Context, as_json: Json = False) -> None:
    """List the authorities that are trusted, and how many servers have a certificate of each."""
    with session(context).client() as client:
        found = client.get("/admin/authorities").body
    if as_json:
        show_json(found)
    else:
        render.rows(out, found["authorities"], ("generation", "issues", "issues_from", "servers", "id"))


@app.command()
def pem(context: typer.Context) -> None:
    """Print their certificates: the file that a client's `sslrootcert` names."""
    with session(context).client() as client:
        found = client.get("/admin/authorities").body
    typer.echo("".join(one["certificate"] for one in found["authorities"]), nl=False)


@app.command()
def rotate(
    context: typer.Context,
    days: Annotated[float | None, typer.Option(help="How long it is only shown first; without it 30.", min=0)] = None,
    as_json: Json = False,
) -> None:
    """Have a new authority take over, in time for clients to learn to trust it. No server is restarted."""
    body = {} if days is None else {"overlap_seconds": round(days * DAY_S)}
    with session(context).client() as client:
        found = client.post("/admin/authorities/rotate", body).body
    if as_json:
        show_json(found)
        return
    newest = found["authorities"][-1]
    err.print(
        f"Generation {newest['generation']} is trusted from now on, and vouches from {newest['issues_from']} on.",
        highlight=False,
    )
