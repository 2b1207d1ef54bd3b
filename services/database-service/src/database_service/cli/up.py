"""`dbs up`: the whole system on this machine, until Ctrl-C."""

import json
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from database_service.cli.client import PREFIX, Client
from database_service.cli.companions import PREFIX as INSTANCES
from database_service.cli.companions import Instances
from database_service.cli.demo import INSTANCE, first_steps
from database_service.cli.embedded import Embedded, refuse_taken_port
from database_service.cli.exits import CommandFailed
from database_service.cli.home import Home, only_one, prepare_data_dir, storage_named
from database_service.cli.signals import be_deaf, go_on, interruptible
from database_service.cli.steps import Steps
from database_service.domain.secret import Secret
from database_service.provisioners.runtime import PostgresRuntime
from database_service.settings import Settings

PLATFORMS = {"Linux": ("x86_64", "aarch64"), "Darwin": ("x86_64", "arm64")}


def up(settings: Settings, pools: int, console: Console, instances_port: int | None = None) -> None:
    """Start everything, prove it with a first database, and run until a signal; then stop what was started, nothing else.
    With a port for it, instance-service is part of everything.

    Call it where signals are a KeyboardInterrupt (`interruptible`). Raises CommandFailed, ProvisioningFailed, and
    KeyboardInterrupt where a signal came before all was ready.
    """
    refuse_platform()
    settings.refuse_half_oidc()
    steps = Steps(console)
    prepare_data_dir(settings.data_dir)
    with storage_named(settings.data_dir), only_one(settings.data_dir):
        runtime = PostgresRuntime.find(settings.postgres_bin_dir)
        system = Embedded.at(Home.make(settings.data_dir, runtime), runtime, settings, instances_port)
        system.clear_leftovers()
        for port in (settings.api_port, instances_port):
            if port:
                refuse_taken_port(settings.api_host, port)
        with _stopped_at_the_end(system, steps):
            _run(system, steps, pools)


def _run(system: Embedded, steps: Steps, pools: int) -> None:
    system.start(steps)
    go_on()
    token = Secret(system.home.admin_token.read_text().strip())
    with Client(system.settings.database_service_url, token) as client:
        credentials = first_steps(client, steps, pools)
    system.start_instances(steps)
    go_on()
    _tell(steps.console, system, credentials)
    try:
        system.wait()
    except KeyboardInterrupt:
        steps.console.print()


@contextmanager
def _stopped_at_the_end(system: Embedded, steps: Steps) -> Iterator[None]:
    try:
        with interruptible():
            yield
    finally:
        be_deaf()  # once more: a signal may have come between a failure and the line that shuts our ears
        with steps.step("Stopping everything", f"Stopped; the data stays in {system.home.data}"):
            system.stop()


def refuse_platform() -> None:
    """CommandFailed where the wheels with PostgreSQL and Valkey do not run."""
    system, machine = platform.system(), platform.machine()
    if machine not in PLATFORMS.get(system, ()):
        known = ", ".join(f"{name} on {' or '.join(machines)}" for name, machines in PLATFORMS.items())
        raise CommandFailed(f"`dbs up` runs on {known}; this is {system} on {machine}.")
    if sys.version_info < (3, 11):  # noqa: UP036  a wheel installed by force must still say so
        raise CommandFailed(f"Python 3.11 or newer is needed; this is {platform.python_version()}.")


def _tell(console: Console, system: Embedded, credentials: dict[str, Any]) -> None:
    url, token = system.settings.database_service_url, system.home.admin_token
    shown = f"postgresql://{credentials['db_user']}@{credentials['db_host']}:{credentials['db_port']}/{credentials['db_name']}"
    dbs = f"{sys.executable.rpartition('/')[0]}/dbs --url {url} --token-file '{token}'"
    lines = [
        "",
        f"[bold]API[/bold]          {url}{PREFIX}",
        f"[bold]Its manual[/bold]   {url}{PREFIX}/docs",
        f"[bold]Admin token[/bold]  {token}",
        f"[bold]Logs[/bold]         {system.home.logs}",
        f"[bold]First database[/bold]  {shown}",
        "",
        "[bold]Next, in another terminal:[/bold]",
        f"  {dbs} psql {INSTANCE}",
        f"  {dbs} allocate shop-1 --customer acme --plan starter",
        f"  {dbs} pools ls",
        f"  curl -H \"Authorization: Bearer $(cat '{token}')\" {url}{PREFIX}/databases/{INSTANCE}",
        *(_about(system.instances) if system.instances else []),
        "",
        "Ctrl-C stops everything; the data stays.",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _about(instances: Instances) -> list[str]:
    """How to have something that runs, on a database of its own."""
    curl = f"curl -H \"Authorization: Bearer $(cat '{instances.token_file}')\""
    wanted = json.dumps({"name": "todo", "customer_id": "demo", "plan_tier": "starter"})
    return [
        "",
        f"[bold]Instances[/bold]    {instances.url}{INSTANCES}",
        f"[bold]Their token[/bold]  {instances.token_file}",
        "",
        "[bold]A list of things to do, as an instance; then open the address it tells:[/bold]",
        f"  {curl} -H 'Content-Type: application/json' -d '{wanted}' {instances.url}{INSTANCES}",
        f"  {curl} {instances.url}{INSTANCES}",
    ]
