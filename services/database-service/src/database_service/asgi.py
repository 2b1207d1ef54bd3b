"""Settings → Deps → the application: `uvicorn --factory database_service.asgi:make_app`."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit

from fastapi import FastAPI

from database_service.actions.record_requests import Keeping
from database_service.actions.tokens import ensure_bootstrap, ensure_consumer
from database_service.admission.bounds import Bounds
from database_service.api import problems
from database_service.api.app import Door, create_app
from database_service.auth.oidc.people import Roles
from database_service.auth.oidc.provider import Client, Provider
from database_service.auth.oidc.sign_in import SignIn
from database_service.auth.rate import Pace, Rate
from database_service.broker.celery import new_sender
from database_service.broker.pulse import Pulse
from database_service.deps import Deps
from database_service.domain.errors import ControlDatabaseUnavailable
from database_service.domain.secret import Secret
from database_service.observability.logging import configure_logging
from database_service.settings import Settings, load_settings
from database_service.ui import app as hub
from database_service.ui.pages.oidc import CALLBACK
from database_service.wiring import open_deps

_TRY_AGAIN_S = 1


def make_app() -> FastAPI:
    """The application of this environment; SettingsError where it cannot be used. Run it with uvicorn's log_config None."""
    settings = load_settings()
    settings.refuse_unsafe()
    configure_logging(level=settings.log_level, look=settings.log_format)
    app = app_of(settings)
    _keep_for_good()
    return app


def _keep_for_good() -> None:
    """What is there now stays to the end: a collection that looks through all of it holds every request up for 50 ms."""
    gc.collect()
    gc.freeze()


def app_of(settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def open_with_tokens() -> AsyncIterator[Deps]:
        async with open_deps(settings, application="database-service-api", hands=False) as deps:
            if await _have_tokens(deps, settings):
                yield deps
                return
            later = asyncio.create_task(_have_tokens_later(deps, settings))
            try:
                yield deps
            finally:
                later.cancel()
                await asyncio.gather(later, return_exceptions=True)

    app = create_app(open_with_tokens, door_of(settings))
    hub.install(app, problems.status_of, sign_in_of(settings), home=settings.public_url)
    return app


def door_of(settings: Settings) -> Door:
    """How wide the door is open in this environment."""
    return Door(
        body_timeout_s=settings.api_body_timeout_s,
        bounds=Bounds(
            at_once=settings.api_requests_at_once,
            queue=settings.api_queue,
            longest_wait_s=settings.api_queue_wait_s,
            hurried_wait_s=settings.api_overload_wait_s,
            hurried_at_once=settings.api_overload_at_once,
            waiting=settings.api_waiting,
            on_servers=settings.api_on_servers,
        ),
        token=Pace(settings.token_rate_per_s, settings.token_burst),
        strangers=Pace(settings.unknown_tokens_per_s, settings.unknown_tokens_burst),
        ping_broker=Pulse(new_sender(settings.broker_url())),
        keeping=keeping_of(settings),
    )


def sign_in_of(settings: Settings) -> SignIn | None:
    """The way in for people by OpenID Connect, where one is set; SettingsError where it is set in part."""
    settings.refuse_half_oidc()
    issuer, home, secret = settings.oidc_issuer, settings.public_url, settings.oidc_client_secret
    if not (issuer and home and secret and settings.oidc_client_id):
        return None
    client = Client(
        issuer=issuer,
        client_id=settings.oidc_client_id,
        client_secret=Secret(secret.get_secret_value()),
        redirect_uri=f"{home}{CALLBACK}",
        scope=settings.oidc_scopes,
    )
    roles = Roles(
        claim=settings.oidc_role_claim,
        viewers=_values(settings.oidc_viewers),
        operators=_values(settings.oidc_operators),
        secret_readers=_values(settings.oidc_secret_readers),
    )
    return SignIn(
        provider=Provider(client),
        roles=roles,
        label=settings.oidc_label or urlsplit(issuer).hostname or issuer,
        home=home,
        lasts=timedelta(seconds=settings.oidc_session_s),
        strangers=Rate("address", Pace(settings.unknown_tokens_per_s, settings.unknown_tokens_burst)),
    )


def _values(listed: str) -> frozenset[str]:
    return frozenset(filter(None, (each.strip() for each in listed.split(","))))


def keeping_of(settings: Settings) -> Keeping:
    """What the request log keeps."""
    return Keeping(
        reads=settings.request_log_reads,
        body_bytes=settings.request_log_body_bytes,
        queue=settings.request_log_queue,
    )


async def _have_tokens(deps: Deps, settings: Settings) -> bool:
    """Those that are set, before anybody can show one. False while our own database is away: the API starts all the same."""
    try:
        if first := settings.bootstrap_token():
            await ensure_bootstrap(deps, first)
        if consumers := settings.consumers_token():
            await ensure_consumer(deps, consumers)
    except ControlDatabaseUnavailable:
        return False
    return True


async def _have_tokens_later(deps: Deps, settings: Settings) -> None:
    while not await _have_tokens(deps, settings):  # noqa: ASYNC110  no Event
        await asyncio.sleep(_TRY_AGAIN_S)  # noqa: TID251  nothing else tells when the database is back
