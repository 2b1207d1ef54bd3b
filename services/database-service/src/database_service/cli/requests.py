"""`dbs requests`: who asked the API what, and what was answered."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer

from database_service.cli import render
from database_service.cli.session import Json, out, session, show_json

app = typer.Typer(help="The request log: who asked the API what, and what was answered.", no_args_is_help=True)

_COLUMNS = ("when", "token", "method", "endpoint", "instance_id", "status", "ms", "code", "request_id")


@app.callback()
def requests() -> None:
    """The request log."""


@app.command("list")
def list_(
    context: typer.Context,
    since: Annotated[datetime | None, typer.Option(help="Only those that came then or later, in UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only those that came before, in UTC.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Only those at this one: a path as the contract has it, such as /allocate.")
    ] = None,
    status: Annotated[int | None, typer.Option(help="Only those with this status.", min=100, max=599)] = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only those that were refused or failed.")] = False,
    token: Annotated[UUID | None, typer.Option(help="Only those with this token: its id.")] = None,
    instance: Annotated[str | None, typer.Option(help="Only those about this instance.")] = None,
    request: Annotated[str | None, typer.Option(help="Only the one with this X-Request-ID.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Go on where a page ended: its `next_cursor`.")] = None,
    limit: Annotated[int, typer.Option(help="How many, the newest.", min=1, max=200)] = 30,
    as_json: Json = False,
) -> None:
    """Requests to the API, newest first; bodies, without secrets, with --json. It is seconds behind."""
    with session(context).client() as client:
        found = client.get(
            "/admin/requests",
            since=_in_utc(since),
            until=_in_utc(until),
            endpoint=endpoint and _whole(endpoint),
            status=status,
            errors=errors or None,
            token_id=str(token) if token else None,
            instance_id=instance,
            request_id=request,
            cursor=cursor,
            limit=limit,
        ).body
    if as_json:
        show_json(found)
        return
    render.rows(out, map(_row, found["requests"]), _COLUMNS)
    if found["next_cursor"]:
        out.print(render.said(f"More: --cursor {found['next_cursor']}"), soft_wrap=True)


def _in_utc(moment: datetime | None) -> str | None:
    return f"{moment.replace(tzinfo=None).isoformat()}Z" if moment else None


def _whole(endpoint: str) -> str:
    return endpoint if endpoint.startswith("/api/") else f"/api/database{endpoint}"


def _row(request: Mapping[str, Any]) -> dict[str, object]:
    return {
        **request,
        "when": render.moment(request["at"]),
        "token": request["token_name"],
        "endpoint": request["endpoint"].removeprefix("/api/database"),
    }
