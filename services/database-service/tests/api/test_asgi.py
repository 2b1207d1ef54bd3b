"""The application as it is started: from settings, with its first token, beside a broker that is there or not."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import httpx

from database_service.api.app import PREFIX
from database_service.asgi import app_of
from database_service.auth.tokens import new_token
from database_service.secretbox import new_key
from database_service.settings import Settings
from support.broker import Broker
from support.cable import cable_to
from support.cluster import Cluster, free_port


def _settings(dsn: str, data_dir: Path, **more: object) -> tuple[Settings, dict[str, str]]:
    text = new_token().reveal()
    settings = Settings(database_url=dsn, secret_keys=new_key("k"), admin_token=text, data_dir=data_dir, **more)  # type: ignore[arg-type]
    return settings, {"Authorization": f"Bearer {text}"}


async def _let_in(client: httpx.AsyncClient) -> httpx.Response:
    """The first answer that is no refusal: tokens are made a moment after the database came."""
    async with asyncio.timeout(10):
        while (answer := await client.get("/admin/stats")).status_code in {401, 503}:  # noqa: ASYNC110  no Event
            await asyncio.sleep(0.02)
    return answer


async def test_it_starts_from_settings_and_its_first_token_opens_it(
    control_dsn: str, folder: Path, valkey: Broker
) -> None:
    settings, headers = _settings(control_dsn, folder, celery_broker_url=valkey.url)
    app = app_of(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=f"http://test{PREFIX}", headers=headers) as client,
    ):
        assert (await client.get("/admin/stats")).status_code == 200
        ready = (await client.get("/health/ready")).json()
        assert (ready["status"], ready["broker"]["ok"]) == ("ready", True)


async def test_a_service_deployed_beside_it_may_use_databases_and_nothing_else(
    control_dsn: str, folder: Path, valkey: Broker
) -> None:
    token = new_token().reveal()
    settings, headers = _settings(control_dsn, folder, celery_broker_url=valkey.url, consumer_token=token)
    app = app_of(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=f"http://test{PREFIX}", headers=headers) as client,
    ):
        client.headers["Authorization"] = f"Bearer {token}"
        assert (await client.get("/admin/stats")).status_code == 403
        assert (await client.get("/databases/nobody")).status_code == 404
        known = (await client.get("/admin/tokens", headers=headers)).json()["tokens"]
        assert {each["name"]: each["scopes"] for each in known}["consumer"] == [
            "databases:read", "databases:secrets", "databases:write",
        ]  # fmt: skip


async def test_whoever_is_answered_is_not_told_that_the_first_token_is_unknown(
    control_dsn: str, folder: Path, valkey: Broker
) -> None:
    settings, headers = _settings(control_dsn, folder, celery_broker_url=valkey.url)
    app = app_of(settings)
    async with AsyncExitStack() as running, AsyncExitStack() as holding:
        slow = await asyncpg.connect(control_dsn)
        running.push_async_callback(slow.close)
        await holding.enter_async_context(slow.transaction())
        await slow.execute("LOCK TABLE tokens")
        start = asyncio.create_task(running.enter_async_context(app.router.lifespan_context(app)))
        await _somebody_waits_for(slow)
        assert not start.done()
        await holding.aclose()
        await start
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://test{PREFIX}", headers=headers) as client:
            assert (await client.get("/admin/stats")).status_code == 200


WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'tokens'::regclass)"


async def _somebody_waits_for(holder: "asyncpg.Connection[asyncpg.Record]") -> None:
    async with asyncio.timeout(10):
        while not await holder.fetchval(WAITS):  # noqa: ASYNC110  no Event
            await asyncio.sleep(0.02)


async def test_it_starts_while_database_and_broker_are_away_and_is_whole_when_they_come(
    control_dsn: str, cluster: Cluster, folder: Path
) -> None:
    async with cable_to(cluster.host, cluster.port) as cable:
        await cable.pull()
        dsn = control_dsn.replace(f":{cluster.port}/", f":{cable.port}/")
        settings, headers = _settings(dsn, folder, celery_broker_url=f"redis://127.0.0.1:{free_port()}/0")
        app = app_of(settings)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url=f"http://test{PREFIX}", headers=headers) as client,
        ):
            assert (await client.get("/admin/stats")).status_code == 503
            assert (await client.get("/health/ready")).json()["status"] == "unavailable"
            await cable.plug()
            assert (await _let_in(client)).status_code == 200
            assert (await client.get("/health/ready")).json()["status"] == "degraded"
