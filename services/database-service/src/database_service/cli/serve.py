"""`dbs serve`: the processes of the system, each in the foreground."""

import asyncio
from typing import TYPE_CHECKING

import typer

from database_service.cli.exits import CommandFailed
from database_service.cli.session import session
from database_service.observability import alive

if TYPE_CHECKING:
    from database_service.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Run one process of the system in the foreground.")
_DRAIN_S = 3


@app.command()
def api(context: typer.Context) -> None:
    """The HTTP API."""
    import uvicorn  # noqa: PLC0415  each process pays only for what it runs

    from database_service.api.turning_away import Turnstile  # noqa: PLC0415

    session(context).settings.refuse_half_oidc()
    settings = _checked(context)
    alive.listening(settings.alive_dir, settings.api_port)
    uvicorn.run(
        "database_service.asgi:make_app",
        factory=True,
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http=Turnstile,
        access_log=False,  # the API writes its own, with request ids
        log_config=None,
        timeout_graceful_shutdown=_DRAIN_S,
    )


@app.command()
def worker(context: typer.Context) -> None:
    """The worker: reconcile steps, from all three queues."""
    from database_service.broker.celery import MAINTENANCE, MONITORING, PROVISIONING  # noqa: PLC0415  as in api

    settings = _checked(context)
    alive.sign(settings.alive_dir, alive.WORKER)
    _celery(
        *(
            "worker",
            "--pool=threads",
            f"--concurrency={settings.worker_threads}",
            "--without-gossip",
            "--without-mingle",
        ),
        f"--queues={PROVISIONING},{MONITORING},{MAINTENANCE}",
    )


@app.command()
def beat(context: typer.Context) -> None:
    """The beat: sweeps and health checks by the clock. One is enough; two do no harm."""
    settings = session(context).settings
    settings.refuse_guessable()  # it needs the broker and nothing else, so it is given no other secret
    alive.sign(settings.alive_dir, alive.BEAT)
    # What was last sent is not worth keeping: everything it sends may be sent twice.
    _celery("beat", "--schedule=:memory:", "--scheduler=database_service.tasks.beating:Clock")


def _celery(*arguments: str) -> None:
    from database_service.tasks.app import app as celery  # noqa: PLC0415  reads the environment when it is imported

    raise typer.Exit(celery.start([*arguments]) or 0)


def _checked(context: typer.Context) -> "Settings":
    settings = session(context).settings
    settings.refuse_unsafe()
    if settings.await_schema_s:
        _await_schema(settings)
    return settings


def _await_schema(settings: "Settings") -> None:
    from database_service.store.revision import awaited, needed  # noqa: PLC0415  as in api

    if not asyncio.run(awaited(settings.database_dsn(), settings.await_schema_s)):
        raise CommandFailed(f"The schema is not at {needed()} after {settings.await_schema_s:g} s: run `dbs migrate`.")
