"""The Celery application of worker and beat: `celery -A instance_service.tasks.app worker|beat`."""

from celery import signals

from instance_service.broker.celery import new_app
from instance_service.observability import alive
from instance_service.observability.logging import configure_logging
from instance_service.settings import load_settings
from instance_service.tasks import handlers
from instance_service.tasks.beating import SignOfLife
from instance_service.tasks.loop import loop
from instance_service.tasks.schedule import schedule

settings = load_settings()
app = new_app(settings.broker_url.get_secret_value())
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
