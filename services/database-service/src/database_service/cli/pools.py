"""`dbs pools`: what operators do with servers."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer

from database_service.cli import render
from database_service.cli.client import STEP_S, Client, segment
from database_service.cli.exits import CommandFailed, Exit
from database_service.cli.session import Confirm, Json, Yes, confirmed, out, session, show_json
from database_service.domain.growth import Stretch
from database_service.domain.plans import ServerType
from database_service.domain.wording import size
from database_service.settings import parse_bytes

app = typer.Typer(no_args_is_help=True, help="Servers that hold tenant databases.")

Pool = Annotated[str, typer.Argument(help="The pool's id or name.", metavar="POOL")]
_COLUMNS = ("name", "server_type", "status", "health_status")
_PAGE = 100
_THEN = ("at", "used_slots", "databases", "connections", "size")


@app.command("ls")
def list_pools(
    context: typer.Context,
    status: Annotated[
        str | None, typer.Option(help="Only those that are: active, full, maintenance, error, gone …")
    ] = None,
    server_type: Annotated[ServerType | None, typer.Option("--type", help="Only shared or dedicated ones.")] = None,
    as_json: Json = False,
) -> None:
    """List servers."""
    with session(context).client() as client:
        pools = all_pools(client, status=status, server_type=server_type)
    if as_json:
        show_json({"pools": pools, "total_count": len(pools)})
    else:
        render.rows(out, (pool | _rendered(pool) for pool in pools), (*_COLUMNS, "used", "where"))


@app.command()
def order(
    context: typer.Context,
    slots: Annotated[int | None, typer.Option(help="Databases it holds.", min=1)] = None,
    cpu: Annotated[float | None, typer.Option(help="CPUs.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory, such as 4G.")] = None,
    priority: Annotated[int, typer.Option(help="Higher ones are filled first.")] = 0,
    manual: Annotated[bool, typer.Option("--manual", help="Takes no databases by itself.")] = False,
    as_json: Json = False,
) -> None:
    """Order a pool. It is made in the background; `dbs pools show` follows it."""
    asked = {"max_instances": slots, "cpu_limit": cpu_count(cpu), "memory_limit": byte_count(memory)}
    body = {name: value for name, value in asked.items() if value is not None}
    with session(context).client("Ordering") as client:
        _show(client.post("/admin/pools", body | {"priority": priority, "manual": manual}).body, as_json=as_json)


@app.command()
def show(context: typer.Context, pool: Pool, as_json: Json = False) -> None:
    """Show one server."""
    with session(context).client() as client:
        _show(client.get(_path(client, pool)).body, as_json=as_json)


@app.command()
def cordon(
    context: typer.Context,
    pool: Pool,
    reason: Annotated[str | None, typer.Option(help="Why, for those who come after.")] = None,
    as_json: Json = False,
) -> None:
    """Give it no new databases; those it has stay."""
    with session(context).client() as client:
        _show(client.post(f"{_path(client, pool)}/cordon", {"reason": reason} if reason else {}).body, as_json=as_json)


@app.command()
def uncordon(context: typer.Context, pool: Pool, as_json: Json = False) -> None:
    """Let new databases come again."""
    with session(context).client() as client:
        _show(client.post(f"{_path(client, pool)}/uncordon").body, as_json=as_json)


@app.command()
def retire(context: typer.Context, pool: Pool, yes: Yes = False, as_json: Json = False) -> None:
    """Remove an empty server for good."""
    confirmed(f"Remove the server {pool} for good?", yes=yes)
    with session(context).client("Retiring") as client:
        _show(client.post(f"{_path(client, pool)}/retire").body, as_json=as_json)


@app.command()
def health(context: typer.Context, pool: Pool, as_json: Json = False) -> None:
    """Log in to it now and say how it is."""
    with session(context).client("Looking") as client:
        found = client.post(f"{_path(client, pool)}/health-check", patience=STEP_S).body
    if as_json:
        show_json(found)
    else:
        render.facts(out, {name: found.get(name) for name in ("status", "health_status", "message")})


@app.command()
def history(
    context: typer.Context,
    pool: Pool,
    by: Annotated[
        Stretch, typer.Option(help="hour: two weeks by the hour; day: all that is kept, by the day.")
    ] = Stretch.DAY,
    as_json: Json = False,
) -> None:
    """Show what it had until now, and when it will be full at this pace."""
    with session(context).client() as client:
        found = client.get(f"{_path(client, pool)}/history", by=by).body
    if as_json:
        show_json(found)
        return
    render.rows(out, (then | {"size": size(then["size_bytes"])} for then in found["history"]), _THEN)
    if found["full_on"]:
        out.print(f"Its slots will all be taken on about {found['full_on']}.")


@app.command()
def adopt(
    context: typer.Context,
    host: Annotated[str, typer.Argument(help="Where it is.")],
    user: Annotated[str, typer.Option(help="Its administrator.")],
    slots: Annotated[int, typer.Option(help="Databases it may hold.", min=1)],
    port: Annotated[int, typer.Option(help="Its port.")] = 5432,
    password_file: Annotated[
        Path | None, typer.Option(help="A file with the password; without it you are asked.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    confirm: Confirm = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take over a server that somebody else runs: first a report, then, when you agree, the adoption."""
    body: dict[str, object] = {"host": host, "port": port, "user": user, "max_instances": slots}
    body |= {"password": _password(password_file)} | ({"name": name} if name else {})
    if confirm is None:
        with session(context).client("Looking at it") as client:
            report = client.post("/admin/pools/adopt", body, patience=STEP_S).body
        _show_report(report, as_json=as_json and not yes)
        confirmed("Adopt this server?", yes=yes)
        confirm = str(report["confirmation"])
    with session(context).client("Adopting") as client:
        _show(client.post("/admin/pools/adopt", body | {"confirm": confirm}, patience=STEP_S).body, as_json=as_json)


def all_pools(client: Client, *, status: str | None = None, server_type: str | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: object = None
    while True:
        page = client.get("/admin/pools", status=status, server_type=server_type, limit=_PAGE, cursor=cursor).body
        found += page["pools"]
        cursor = page.get("next_cursor")
        if not cursor:
            return found


def _path(client: Client, pool: str) -> str:
    return f"/admin/pools/{segment(pool_id(client, pool))}"


def pool_id(client: Client, pool: str) -> str:
    """A name is looked up: people remember names, the API knows ids."""
    found = next((known for known in all_pools(client) if pool in (known["name"], known["id"])), None)
    if found is None and not _is_id(pool):
        raise CommandFailed(f"There is no server {pool}.", Exit.NOT_FOUND)
    return str(found["id"]) if found else pool


def _is_id(text: str) -> bool:
    return len(text) == 36 and text.count("-") == 4


def _rendered(pool: Mapping[str, Any]) -> dict[str, object]:
    used = f"{pool['current_instances']} of {pool['max_instances']}, {pool['spare_instances']} spare"
    return {"used": used, "where": _where(pool), "memory": size(pool["memory_limit"])}


def _where(pool: Mapping[str, Any]) -> str | None:
    return f"{pool['host']}:{pool['port']}" if pool.get("host") else None


def _show(pool: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(pool)
        return
    names = ("id", *_COLUMNS, "cordon_reason", "postgres_version", "image", "cpu_limit", "health_message", "last_error")
    shown = {name: pool.get(name) for name in names}
    render.facts(out, shown | _rendered(pool))


def _show_report(report: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(report)
        return
    render.facts(
        out, {name: report[name] for name in ("postgres_version", "max_connections", "superuser", "confirmation")}
    )
    databases = ({"database": name, "size": size(count)} for name, count in report["databases"].items())
    render.rows(out, databases, ("database", "size"))
    for change in report["changes"]:
        out.print(f"  • {change}", markup=False)


def _password(path: Path | None) -> str:
    if path is None:
        return str(typer.prompt("Password", hide_input=True, err=True))
    try:
        return path.read_text().strip()
    except OSError as e:
        raise CommandFailed(f"The password file {path} cannot be read: {e.strerror}.", Exit.USAGE) from e


def cpu_count(cpu: float | None) -> float | None:
    if cpu is not None and not isfinite(cpu):
        raise CommandFailed(f"--cpu {cpu} is no number of CPUs.", Exit.USAGE)
    return cpu


def byte_count(memory: str | None) -> object:
    try:
        return parse_bytes(memory)
    except ValueError as e:
        raise CommandFailed(f"--memory {memory} {e}.", Exit.USAGE) from None
