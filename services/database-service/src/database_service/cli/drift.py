"""`dbs drift`: what is there without a row, and rows whose thing is gone, differs or moved."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from database_service.cli import render
from database_service.cli.client import Client, segment
from database_service.cli.session import Confirm, Json, Yes, confirmed, err, out, session, show_json
from database_service.domain.drift import Kind, State

app = typer.Typer(no_args_is_help=True, help="What is not as the rows say: found, reported, removed when confirmed.")

Finding = Annotated[str, typer.Argument(help="The finding's id.", metavar="FINDING")]
_PAGE = 200


@app.command("ls")
def list_drift(
    context: typer.Context,
    kind: Annotated[Kind | None, typer.Option(help="Only this kind.")] = None,
    state: Annotated[State | None, typer.Option(help="Only in this state; without it, what is still there.")] = None,
    as_json: Json = False,
) -> None:
    """What the last look found, and what it could not look at."""
    with session(context).client() as client:
        found = _all(client, kind=kind, state=state)
    if as_json:
        show_json(found)
        return
    render.facts(out, {"looked at": render.moment(found["looked_at"]) or "never"})
    for place in found["not_looked_at"]:
        out.print(f"not looked at: {place['where']}: {place['why']}", markup=False, highlight=False)
    if found["drift"]:
        rows = (finding | {"told": "; ".join(finding["told"])} for finding in found["drift"])
        render.rows(out, rows, ("id", "kind", "state", "server_name", "told", "remark"))


@app.command()
def find(context: typer.Context, as_json: Json = False) -> None:
    """Have a worker look now; `dbs drift ls` tells when it did."""
    with session(context).client() as client:
        wanted = client.post("/admin/drift/find").body
    if as_json:
        show_json(wanted)
    else:
        err.print("A worker looks; `dbs drift ls` shows what it found.", highlight=False)


@app.command()
def remove(
    context: typer.Context,
    finding: Finding,
    confirm: Confirm = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove it for good: first what exactly would go, then, when you agree, a worker removes it."""
    path = f"/admin/drift/{segment(finding)}/remove"
    if confirm is None:
        with session(context).client() as client:
            offer = client.post(path, {}).body
        _show_offer(offer, as_json=as_json and not yes)
        confirmed("Remove this for good, with all that is in it?", yes=yes)
        confirm = str(offer["confirmation"])
    with session(context).client("Confirming") as client:
        done = client.post(path, {"confirm": confirm}).body
    if as_json:
        show_json(done)
    else:
        render.facts(out, {name: done[name] for name in ("id", "kind", "state", "confirmed_by")})


def _all(client: Client, *, kind: Kind | None, state: State | None) -> dict[str, Any]:
    page = client.get("/admin/drift", kind=kind, state=state, limit=_PAGE).body
    found: dict[str, Any] = page | {"next_cursor": None}
    while cursor := page["next_cursor"]:
        page = client.get("/admin/drift", kind=kind, state=state, limit=_PAGE, cursor=cursor).body
        found["drift"] += page["drift"]
    return found


def _show_offer(offer: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(offer)
        return
    found = offer["drift"]
    render.facts(out, {name: found[name] for name in ("kind", "server_name", "remark", "first_seen")})
    for what in found["told"]:
        out.print(f"  • {what}", markup=False, highlight=False)
    render.facts(out, {"confirmation": offer["confirmation"], "expires at": render.moment(offer["expires_at"])})
