"""`dbs keys`: which keys of the ring are in use. Keys themselves are never shown."""

from collections.abc import Mapping
from typing import Any

import typer

from database_service.cli import render
from database_service.cli.session import Json, err, out, session, show_json

app = typer.Typer(no_args_is_help=True, help="The key ring: which of its keys are in use, and which can go.")


@app.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """How much needs which key, and which can be removed. Keys themselves are never shown."""
    with session(context).client() as client:
        found = client.get("/admin/keys").body
    if as_json:
        show_json(found)
        return
    rows = (key | {"state": _state_of(key)} for key in found["keys"])
    render.rows(out, rows, ("id", "state", "secrets", "links", "tokens"))
    if found["plain_tokens"]:
        out.print(f"{found['plain_tokens']} token(s) of an older release are stored under no key until they are used.")


@app.command()
def reseal(context: typer.Context, as_json: Json = False) -> None:
    """Have a worker seal everything with the ring's first key; `dbs keys status` tells when it did."""
    with session(context).client() as client:
        found = client.post("/admin/keys/reseal").body
    if as_json:
        show_json(found)
    else:
        err.print("A worker re-seals; `dbs keys status` shows what is left.", highlight=False)


def _state_of(key: Mapping[str, Any]) -> str:
    if not key["on_ring"]:
        return "missing: put it back on the ring"
    if key["seals"]:
        return "seals"
    return "can be removed" if key["removable"] else "in use"
