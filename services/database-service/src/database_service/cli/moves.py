"""`dbs change-plan`, `dbs move`, `dbs pools drain` and `dbs pools rebalance`: databases that go elsewhere."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from database_service.cli import operations, render
from database_service.cli.client import segment
from database_service.cli.exits import CommandFailed, Exit
from database_service.cli.pools import Pool, pool_id
from database_service.cli.session import Json, Yes, confirmed, out, session, show_json
from database_service.domain.plans import Tier

Instance = Annotated[str, typer.Argument(help="The instance's id.", metavar="INSTANCE")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow it until it rests.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would mean.")]


def change_plan(
    context: typer.Context,
    instance: Instance,
    plan: Annotated[Tier, typer.Argument(help="The plan it shall have.", metavar="PLAN")],
    dedicated: Annotated[
        bool, typer.Option("--dedicated", help="A server of its own, where the plan leaves the choice.")
    ] = False,
    dry_run: DryRun = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Give a database another plan: other limits at once, or a move to another kind of server."""
    body = {"plan_tier": plan, "require_dedicated": dedicated, "dry_run": dry_run}
    with session(context).client("Changing the plan") as client:
        answer = client.post(f"/databases/{segment(instance)}/change-plan", body).body
        if dry_run:
            _report(answer, as_json=as_json)
        else:
            operations.present(client, answer, wait=wait, as_json=as_json)


def move(
    context: typer.Context,
    instance: Instance,
    to: Annotated[
        str | None, typer.Option(help="A pool's id or name; without it, any with room.", metavar="POOL")
    ] = None,
    dry_run: DryRun = False,
    wait: Wait = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Move a database to another pool. Its users are shut out for as long as it is copied."""
    if not dry_run:
        confirmed(f"Move the database of {instance}? Its sessions end, and come back to another address.", yes=yes)
    with session(context).client("Moving") as client:
        body = {"dry_run": dry_run} | ({"pool_id": pool_id(client, to)} if to else {})
        answer = client.post(f"/admin/databases/{segment(instance)}/move", body).body
        if dry_run:
            _report(answer, as_json=as_json)
        else:
            operations.present(client, answer, wait=wait, as_json=as_json)


def drain(context: typer.Context, pool: Pool, wait: Wait = False, yes: Yes = False, as_json: Json = False) -> None:
    """Cordon a pool and move every database in use on it elsewhere, one after the other."""
    confirmed(f"Move all databases off {pool}? Each one's users are shut out while it is copied.", yes=yes)
    with session(context).client("Draining") as client:
        begun = client.post(f"/admin/pools/{segment(pool_id(client, pool))}/drain").body
        operations.present(client, begun, wait=wait, as_json=as_json)


def rebalance(
    context: typer.Context,
    most: Annotated[int, typer.Option(help="How many databases are moved at most.", min=1, max=1000)] = 10,
    wait: Wait = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Move databases from fuller pools to emptier ones, one after the other."""
    confirmed(f"Move up to {most} databases? Each one's users are shut out while it is copied.", yes=yes)
    with session(context).client("Evening out") as client:
        begun = client.post("/admin/pools/rebalance", {"most": most}).body
        operations.present(client, begun, wait=wait, as_json=as_json)


def register(app: typer.Typer, pools: typer.Typer) -> None:
    app.command(rich_help_panel="Databases")(change_plan)
    app.command(rich_help_panel="Databases")(move)
    pools.command()(drain)
    pools.command()(rebalance)


def _report(report: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(report)
    else:
        render.facts(out, _facts(report))
    if report["blockers"]:
        raise CommandFailed("It cannot be moved as it is.", Exit.REFUSED)


def _facts(report: Mapping[str, Any]) -> dict[str, object]:
    if not report["moves"]:
        return {
            "instance_id": report["instance_id"],
            "plan_tier": report["plan_tier"],
            "moves": "no; its limits change",
        }
    names = ("instance_id", "plan_tier", "server_type", "tables", "large_objects", "size_bytes")
    to = report["to_server"]["name"] if report["to_server"] else "a server that has to be made"
    return {name: report[name] for name in names} | {
        "from": report["from_server"]["name"],
        "to": to,
        "extensions": ", ".join(report["extensions"]),
        "shut for about": f"{report['estimated_downtime_s']} s",
        "blockers": "\n".join(report["blockers"]),
        "losses": "\n".join(report["losses"]),
    }
