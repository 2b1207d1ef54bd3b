"""Settings → Deps → the application: `uvicorn --factory database_service.asgi:make_app`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from database_service.actions.tokens import ensure_bootstrap
from database_service.api.app import Door, create_app
from database_service.broker.celery import new_sender
from database_service.broker.pulse import Pulse
from database_service.deps import Deps
from database_service.domain.errors import ControlDatabaseUnavailable
from database_service.domain.secret import Secret
from database_service.observability.logging import configure_logging
from database_service.settings import Settings, load_settings
from database_service.wiring import open_deps

_TRY_AGAIN_S = 1


def make_app() -> FastAPI:
    """The application of this environment; SettingsError where it cannot be used. Run it with uvicorn's log_config None."""
    settings = load_settings()
    settings.refuse_unsafe()
    configure_logging(level=settings.log_level, look=settings.log_format)
    return app_of(settings)


def app_of(settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def open_with_first_token() -> AsyncIterator[Deps]:
        async with open_deps(settings, application="database-service-api", hands=False) as deps:
            first = asyncio.create_task(_first_token(deps, settings.bootstrap_token()))
            try:
                yield deps
            finally:
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)

    return create_app(open_with_first_token, Door(ping_broker=Pulse(new_sender(settings.broker_url()))))


async def _first_token(deps: Deps, token: Secret | None) -> None:
    """In the background, because the API starts also while its database is away."""
    while token is not None:
        try:
            await ensure_bootstrap(deps, token)
        except ControlDatabaseUnavailable:
            await asyncio.sleep(_TRY_AGAIN_S)  # noqa: TID251  nothing else tells when the database is back
        else:
            return
