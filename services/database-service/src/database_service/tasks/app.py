"""The Celery application of worker and beat: `celery -A database_service.tasks.app worker|beat`."""

from celery import signals

from database_service.broker.celery import new_app
from database_service.observability import alive
from database_service.observability.logging import configure_logging
from database_service.settings import load_settings
from database_service.tasks import handlers
from database_service.tasks.beating import SignOfLife
from database_service.tasks.loop import loop
from database_service.tasks.schedule import schedule

settings = load_settings()
app = new_app(settings.broker_url())
app.conf.beat_schedule = schedule(settings)
app.conf.beat_max_loop_interval = alive.EVERY_S
app.conf.worker_concurrency = settings.worker_threads
app.steps["consumer"].add(SignOfLife)
handlers.register(app)


@signals.setup_logging.connect
def _log_as_everywhere(**_: object) -> None:
    configure_logging(level=settings.log_level, look=settings.log_format)


@signals.worker_shutdown.connect
def _close(**_: object) -> None:
    loop.close()
