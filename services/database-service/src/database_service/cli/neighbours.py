"""`dbs neighbours`: who takes how much of a pool, and what to do about it."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from database_service.cli import render
from database_service.cli.pools import pool_id
from database_service.cli.session import Json, out, session, show_json
from database_service.domain.wording import size

_SHARES = ("connections", "time", "blocks", "temp", "size")
_COLUMNS = ("instance_id", "pool_name", "plan_tier", *_SHARES, "on_disk", "state")


def neighbours(
    context: typer.Context,
    pool: Annotated[str | None, typer.Option(help="Only those on this pool: its id or name.")] = None,
    limit: Annotated[int, typer.Option(help="How many, the noisiest.", min=1, max=200)] = 20,
    as_json: Json = False,
) -> None:
    """Rank the databases on pools by how much of their pool they take, with advice."""
    with session(context).client() as client:
        where = pool_id(client, pool) if pool else None
        found = client.get("/admin/neighbours", pool_id=where, limit=limit).body
    if as_json:
        show_json(found)
        return
    render.rows(out, map(_row, found["neighbours"]), _COLUMNS)
    for neighbour in found["neighbours"]:
        for sentence in neighbour["advice"]:
            out.print(render.said(f"{neighbour['instance_id']}: {sentence}"), soft_wrap=True)


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Fleet")(neighbours)


def _row(neighbour: Mapping[str, Any]) -> dict[str, object]:
    shares = {name: f"{neighbour['shares'][name]:g} %" for name in _SHARES}
    return {**neighbour, **shares, "on_disk": size(neighbour["size_bytes"])}
