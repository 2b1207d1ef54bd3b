"""Commands about instances."""

import json
import time
from typing import Annotated, Any
from uuid import UUID

import typer

from instance_service.cli.client import Client
from instance_service.cli.exits import CommandFailed, Exit
from instance_service.settings import load_settings

WAIT_STEP_S = 20


def _an_id(given: str) -> str:
    try:
        return str(UUID(given))
    except ValueError:
        told = f"There is no instance {given!r}: an instance is named by its id here; `instances list` shows ids and names."
        raise CommandFailed(told, Exit.NOT_FOUND) from None


Id = Annotated[str, typer.Argument(help="The instance's id, which `instances list` shows.", callback=_an_id)]
Wait = Annotated[int, typer.Option(help="Wait until it has settled, for so many seconds at most.", min=0)]
Json = Annotated[bool, typer.Option("--json", help="Print what the API says.")]

_ON_ITS_WAY = ("pending", "waiting_for_database", "starting", "stopping", "changing_plan", "rotating", "deleting")


def register(app: typer.Typer) -> None:
    for command in (create, instances, show, events, stop, start, change_plan, rotate_credentials, delete):
        name = "list" if command is instances else command.__name__.replace("_", "-")
        app.command(name)(command)


def create(
    name: Annotated[str, typer.Argument(help="Its name, unique among the customer's: letters, digits, hyphens.")],
    customer: Annotated[str, typer.Option(help="The customer it belongs to.")] = "me",
    plan: Annotated[str, typer.Option(help="The plan of its database and its workload.")] = "free",
    image: Annotated[str | None, typer.Option(help="What to run in a Swarm; else the example application.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=value for its environment; may be repeated.")] = None,
    command: Annotated[list[str] | None, typer.Argument(help="Program and arguments, after `--`.")] = None,
    wait: Wait = 0,
    as_json: Json = False,
) -> None:
    """Create an instance with a database of its own. The same again is the same one."""
    body = {
        "name": name, "customer_id": customer, "plan_tier": plan, "image": image, "command": command or [],
        "env": dict(_variable(given) for given in env or []),
    }  # fmt: skip
    client = _client()
    _settled(client, client.call("POST", body=body), wait, as_json)


def instances(
    customer: Annotated[str | None, typer.Option(help="Only this customer's.")] = None,
    status: Annotated[str | None, typer.Option(help="Only those in this status; `deleted` shows deleted ones.")] = None,
    as_json: Json = False,
) -> None:
    """List instances, the newest first."""
    found = _client().call("GET", customer_id=customer, status=status, limit=200)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for each in found["instances"]:
        print(_line(each))


def show(instance_id: Id, wait: Wait = 0, as_json: Json = False) -> None:
    """Show one instance."""
    client = _client()
    _settled(client, client.call("GET", f"/{instance_id}"), wait, as_json)


def events(instance_id: Id) -> None:
    """What happened to it, the oldest first."""
    for event in reversed(_client().call("GET", f"/{instance_id}/events", limit=200)["events"]):
        print(f"{event['at']}  {event['action']:32}  {event['after'] or '':20}  {event['why'] or ''}".rstrip())


def stop(instance_id: Id, wait: Wait = 0, as_json: Json = False) -> None:
    """End its workload; its database stays."""
    _steer(instance_id, "/stop", wait, as_json)


def start(instance_id: Id, wait: Wait = 0, as_json: Json = False) -> None:
    """Run its workload again; one in error is tried at once."""
    _steer(instance_id, "/start", wait, as_json)


def change_plan(
    instance_id: Id, plan: Annotated[str, typer.Argument(help="The new plan.")], wait: Wait = 0, as_json: Json = False
) -> None:
    """Give it another plan; its database may be moved for that."""
    client = _client()
    changed = client.call("POST", f"/{instance_id}/change-plan", body={"plan_tier": plan})
    _settled(client, changed, wait, as_json)


def rotate_credentials(instance_id: Id, wait: Wait = 0, as_json: Json = False) -> None:
    """Give it a new login, and restart its workload with it."""
    _steer(instance_id, "/rotate-credentials", wait, as_json)


def delete(instance_id: Id, wait: Wait = 0, as_json: Json = False) -> None:
    """End it and release its database, which is kept for the plan's grace."""
    client = _client()
    _settled(client, client.call("DELETE", f"/{instance_id}"), wait, as_json)


def _steer(instance_id: str, verb: str, wait: int, as_json: bool) -> None:
    client = _client()
    _settled(client, client.call("POST", f"/{instance_id}{verb}"), wait, as_json)


def _settled(client: Client, found: dict[str, Any], wait: int, as_json: bool) -> None:
    """Print it when it has settled. NOT_READY where it has not in time, FAILURE where it settled in error."""
    until = time.monotonic() + wait
    while found["status"] in _ON_ITS_WAY and (left := until - time.monotonic()) > 0:
        found = client.call("GET", f"/{found['id']}", wait=max(1, min(WAIT_STEP_S, int(left))))
    print(json.dumps(found, indent=2) if as_json else _line(found))
    if wait and found["status"] == "error":
        raise typer.Exit(Exit.FAILURE)
    if wait and found["status"] in _ON_ITS_WAY:
        raise typer.Exit(Exit.NOT_READY)


def _line(found: dict[str, Any]) -> str:
    told = found["last_error"] or found["url"] or ""
    return f"{found['id']}  {found['name']:20}  {found['plan_tier']:12}  {found['status']:20}  {told}".rstrip()


def _variable(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals:
        raise CommandFailed(f"--env takes NAME=value, and {given!r} has no '='.", Exit.USAGE)
    return name, value


def _client() -> Client:
    return Client(load_settings())
