"""`dbs pools rollout` and `dbs pools rotate-password`: what changes servers one after the other."""

from typing import Annotated

import typer

from database_service.cli import operations
from database_service.cli.client import Client
from database_service.cli.exits import CommandFailed, Exit
from database_service.cli.pools import all_pools, byte_count, cpu_count
from database_service.cli.session import Json, session

Pools = Annotated[
    list[str] | None, typer.Argument(help="Ids or names; without any, every active shared one.", metavar="POOL")
]
Every = Annotated[bool, typer.Option("--all", help="Every active one, dedicated ones too.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow it until it rests.")]


def rollout(
    context: typer.Context,
    pools: Pools = None,
    image: Annotated[str | None, typer.Option(help="The image, of the same major version.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory, such as 4G.")] = None,
    cpu: Annotated[float | None, typer.Option(help="CPUs.")] = None,
    slots: Annotated[int | None, typer.Option(help="Databases each holds.", min=1)] = None,
    tls: Annotated[bool, typer.Option("--tls", help="They speak TLS, and let nobody in without.")] = False,
    every: Every = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Change servers that run, one at a time; each is restarted where the change needs it."""
    asked = {
        "image": image,
        "memory_limit": byte_count(memory),
        "cpu_limit": cpu_count(cpu),
        "max_instances": slots,
        "tls": tls or None,
    }
    body = {name: value for name, value in asked.items() if value is not None}
    with session(context).client("Rolling out") as client:
        begun = client.post("/admin/pools/rollout", body | _chosen(client, pools, every=every)).body
        operations.present(client, begun, wait=wait, as_json=as_json)


def rotate_password(
    context: typer.Context, pools: Pools = None, every: Every = False, wait: Wait = False, as_json: Json = False
) -> None:
    """Give servers' administrators new passwords. Nothing is restarted; sessions go on."""
    with session(context).client("Rotating") as client:
        begun = client.post("/admin/pools/rotate-admin-password", _chosen(client, pools, every=every)).body
        operations.present(client, begun, wait=wait, as_json=as_json)


def register(app: typer.Typer) -> None:
    app.command()(rollout)
    app.command("rotate-password")(rotate_password)


def _chosen(client: Client, pools: list[str] | None, *, every: bool) -> dict[str, object]:
    if not pools:
        return {"pools": "all" if every else "shared"}
    if every:
        raise CommandFailed("Name pools or say --all, not both.", Exit.USAGE)
    ids = {known["name"]: known["id"] for known in all_pools(client)}
    if unknown := [pool for pool in pools if pool not in (*ids, *ids.values())]:
        raise CommandFailed(f"There is no server {unknown[0]}.", Exit.NOT_FOUND)
    return {"pools": [ids.get(pool, pool) for pool in pools]}
