"""Settings → Deps → the application: `uvicorn --factory instance_service.asgi:make_app`."""

from functools import partial

from fastapi import FastAPI

from instance_service.api.app import Door, create_app
from instance_service.auth.guard import Guard
from instance_service.broker.celery import new_sender
from instance_service.broker.pulse import Pulse
from instance_service.observability.logging import configure_logging
from instance_service.settings import load_settings
from instance_service.wiring import open_deps


def make_app() -> FastAPI:
    """The application of this environment; SettingsError where it cannot be used. Run it with uvicorn's log_config None."""
    settings = load_settings()
    configure_logging(level=settings.log_level, look=settings.log_format)
    pulse = Pulse(new_sender(settings.broker_url.get_secret_value()))
    guard = Guard(settings.api_token())
    return create_app(partial(open_deps, settings, application="instance-service-api"), guard, Door(ping_broker=pulse))
