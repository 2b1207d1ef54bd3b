"""`instances serve`: the processes of the service, each in the foreground."""

import typer

from instance_service.observability import alive
from instance_service.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="Run one process of the service in the foreground.")
_DRAIN_S = 3


@app.command()
def api() -> None:
    """The HTTP API."""
    import uvicorn  # noqa: PLC0415  each process pays only for what it runs

    settings = _checked()
    settings.api_token()
    alive.listening(settings.alive_dir, settings.api_port)
    uvicorn.run(
        "instance_service.asgi:make_app",
        factory=True,
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        access_log=False,  # the API writes its own, with request ids
        log_config=None,
        timeout_graceful_shutdown=_DRAIN_S,
    )


@app.command()
def worker() -> None:
    """The worker: it asks for databases and runs workloads."""
    from instance_service.broker.celery import MONITORING, PROVISIONING  # noqa: PLC0415  as in api

    settings = _checked()
    alive.sign(settings.alive_dir, alive.WORKER)
    _celery(
        *("worker", "--pool=threads", f"--concurrency={settings.worker_threads}", "--without-gossip"),
        *("--without-mingle", f"--queues={PROVISIONING},{MONITORING}"),
    )


@app.command()
def beat() -> None:
    """The beat: sweeps by the clock. One is enough; two do no harm."""
    settings = load_settings()  # it needs the broker and nothing else, so it is given no secret
    alive.sign(settings.alive_dir, alive.BEAT)
    # What was last sent is not worth keeping: everything it sends may be sent twice.
    _celery("beat", "--schedule=:memory:", "--scheduler=instance_service.tasks.beating:Clock")


def _celery(*arguments: str) -> None:
    from instance_service.tasks.app import app as celery  # noqa: PLC0415  reads the environment when it is imported

    raise typer.Exit(celery.start([*arguments]) or 0)


def _checked() -> Settings:
    """What is missing is said here in a sentence, not by a process that has half begun."""
    settings = load_settings()
    settings.database_service_token()
    return settings
