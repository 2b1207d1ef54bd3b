"""`dbs operations`: long work, followed and steered."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from database_service.cli import render
from database_service.cli.client import Client, segment
from database_service.cli.exits import CommandFailed, Exit
from database_service.cli.session import Json, err, out, session, show_json
from database_service.domain.operations import AT_REST, State

app = typer.Typer(no_args_is_help=True, help="Long work, step by step.")

OperationId = Annotated[str, typer.Argument(help="The operation's id.", metavar="OPERATION")]
_NEWS_S = 2
"""How often progress is told of."""


@app.command("ls")
def list_operations(
    context: typer.Context,
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(help="How many, the newest.", min=1, max=200)] = 30,
    as_json: Json = False,
) -> None:
    """List operations, newest first."""
    with session(context).client() as client:
        found = client.get("/operations", state=state, limit=limit).body
    if as_json:
        show_json(found)
        return
    rows = (operation | _rendered(operation) for operation in found["operations"])
    render.rows(out, rows, ("id", "kind", "state", "done", "when", "created_by", "error"))


@app.command()
def show(
    context: typer.Context,
    operation: OperationId,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it rests.")] = False,
    as_json: Json = False,
) -> None:
    """Show one operation and its steps."""
    with session(context).client() as client:
        present(client, client.get(_path(operation)).body, wait=wait, as_json=as_json)


@app.command()
def cancel(context: typer.Context, operation: OperationId, as_json: Json = False) -> None:
    """Begin no further step. The one in hand is finished; what is done stays."""
    _steer(context, operation, "cancel", as_json=as_json)


@app.command()
def pause(context: typer.Context, operation: OperationId, as_json: Json = False) -> None:
    """Rest after the step in hand."""
    _steer(context, operation, "pause", as_json=as_json)


@app.command()
def resume(context: typer.Context, operation: OperationId, as_json: Json = False) -> None:
    """Go on with the next step."""
    _steer(context, operation, "resume", as_json=as_json)


def present(client: Client, operation: Mapping[str, Any], *, wait: bool, as_json: bool) -> None:
    """Show it now, or, with `wait`, each step as it goes and then the whole. One that failed is a failure."""
    if wait:
        with _goes_on(operation):
            operation = _followed(client, operation, quiet=as_json)
    if as_json:
        show_json(operation)
    else:
        render.facts(out, _facts(operation))
        moves = any(step["progress"] for step in operation["steps"])
        columns = ("name", "state", "progress", "error") if moves else ("name", "state", "error")
        render.rows(out, map(_step, operation["steps"]), columns)
    if wait and operation["state"] != State.SUCCEEDED:
        failed = operation["state"] == State.FAILED
        raise CommandFailed(f"The operation is {operation['state']}.", Exit.FAILURE if failed else Exit.REFUSED)


@contextmanager
def _goes_on(operation: Mapping[str, Any]) -> Iterator[None]:
    """Who stops watching does not stop the work."""
    try:
        yield
    except KeyboardInterrupt:
        err.print(f"It goes on; `dbs operations show {operation['id']} --wait` follows it again.", highlight=False)
        raise


def _followed(client: Client, operation: Mapping[str, Any], *, quiet: bool) -> Mapping[str, Any]:
    told: dict[int, tuple[str, ...]] = {}
    while True:
        for news in _news(operation, told):
            if not quiet:
                out.print(news, highlight=False, markup=False)
        if operation["state"] in AT_REST:
            return operation
        operation = client.get(_path(operation["id"]), wait=_NEWS_S).body


def _news(operation: Mapping[str, Any], told: dict[int, tuple[str, ...]]) -> Iterator[str]:
    """Steps that are no longer as they were told; from now on they are."""
    for step in operation["steps"]:
        progress = step["progress"]
        news = (step["state"], progress["phase"]) if progress and step["state"] == "running" else (step["state"],)
        if news != told.get(step["ordinal"], ("pending",)):
            told[step["ordinal"]] = news
            yield f"{step['name']}: {', '.join(news)}"


def _step(step: Mapping[str, Any]) -> Mapping[str, object]:
    return {**step, "progress": _progress(step["progress"]) if step["progress"] else ""}


def _progress(move: Mapping[str, Any]) -> str:
    share = f" {move['fraction']:.0%}" if move["fraction"] is not None else ""
    shut = f", shut for {move['downtime_s']:.1f} s" if move["downtime_s"] is not None else ""
    return f"{move['phase']}{share}: {move['from_server']} → {move['to_server'] or 'where there is room'}{shut}"


@app.command()
def rollback(
    context: typer.Context,
    operation: OperationId,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it rests.")] = False,
    as_json: Json = False,
) -> None:
    """Bring back what it moved, as long as nothing was written there since."""
    with session(context).client("Going back") as client:
        present(client, client.post(f"{_path(operation)}/rollback").body, wait=wait, as_json=as_json)


@app.command()
def retry(
    context: typer.Context,
    operation: OperationId,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it rests.")] = False,
    as_json: Json = False,
) -> None:
    """Try again what one that failed or was cancelled did not get done."""
    with session(context).client("Trying again") as client:
        present(client, client.post(f"{_path(operation)}/retry").body, wait=wait, as_json=as_json)


def _steer(context: typer.Context, operation: str, verb: str, *, as_json: bool) -> None:
    with session(context).client() as client:
        present(client, client.post(f"{_path(operation)}/{verb}").body, wait=False, as_json=as_json)


def _path(operation: str) -> str:
    return f"/operations/{segment(operation)}"


def _rendered(operation: Mapping[str, Any]) -> dict[str, object]:
    over = sum(step["state"] in ("succeeded", "skipped") for step in operation["steps"])
    return {"done": f"{over} of {len(operation['steps'])}", "when": render.moment(operation["created_at"])}


def _facts(operation: Mapping[str, Any]) -> dict[str, object]:
    names = ("id", "kind", "state", "wish", "error", "created_by")
    target = " ".join(f"{name}={value}" for name, value in operation["target"].items())
    return {name: operation[name] for name in names} | {"target": target} | _rendered(operation)
