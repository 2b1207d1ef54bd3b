"""The first pools and a first database, ordered as any other caller would: through the API."""

import asyncio
import time
from typing import Any

import asyncpg

from database_service.cli.client import LONGEST_WAIT_S, STEP_S, Client
from database_service.cli.exits import CommandFailed
from database_service.cli.signals import run_apart
from database_service.cli.steps import Steps

INSTANCE = "demo"
ASK = {"instance_id": INSTANCE, "customer_id": "demo", "plan_tier": "starter"}
POOL_PATIENCE_S = 180
LOGIN_PATIENCE_S = 60
_LIVE = ("provisioning", "initializing", "active", "full", "maintenance")
_PAUSE_S = 0.1
_NOT_YET = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)


def first_steps(client: Client, steps: Steps, pools: int) -> dict[str, Any]:
    """Have this many pools and the demo database; give its credentials, proved by a login. CommandFailed."""
    if servers := _servers(client):
        with steps.step("Waking servers", f"{len(servers)} server(s) of earlier runs looked at"):
            _wake(client, servers)
    missing = pools - sum(server["server_type"] == "shared" for server in servers)
    if missing > 0:
        _start_pools(client, steps, missing)
    with steps.step(f"Allocating a database for instance {INSTANCE}", f"Database for instance {INSTANCE}"):
        credentials = _allocated(client)
    with steps.step("Logging in", "Logged in to it and ran SQL"):
        run_apart(_prove(credentials))
    return credentials


def _servers(client: Client) -> list[dict[str, Any]]:
    """All live servers, page by page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = client.get("/admin/pools", limit=100, cursor=cursor).body
        found += [server for server in page["pools"] if server["status"] in _LIVE]
        cursor = page.get("next_cursor")
        if not cursor:
            return found


def _wake(client: Client, servers: list[dict[str, Any]]) -> None:
    """Servers were stopped with the system before; a look at each starts it now and not at its next health check."""
    for server in servers:
        client.post(f"/admin/pools/{server['id']}/health-check", patience=STEP_S)


def _start_pools(client: Client, steps: Steps, missing: int) -> None:
    with steps.step(f"Starting {missing} pool(s)", f"{missing} pool(s) active"):
        for ordered in [client.post("/admin/pools", {}).body for _ in range(missing)]:
            _until_active(client, ordered["id"])


def _until_active(client: Client, pool_id: str) -> None:
    deadline = time.monotonic() + POOL_PATIENCE_S
    while True:
        pool = client.get(f"/admin/pools/{pool_id}").body
        if pool["status"] in ("active", "full"):
            return
        if pool["status"] == "error":
            raise CommandFailed(f"The pool {pool['name']} does not start: {pool['last_error']}")
        if time.monotonic() > deadline:
            raise CommandFailed(f"The pool {pool['name']} did not become active within {POOL_PATIENCE_S} s.")
        time.sleep(_PAUSE_S)


def _allocated(client: Client) -> dict[str, Any]:
    deadline = time.monotonic() + POOL_PATIENCE_S
    while True:
        answer = client.post("/allocate", ASK, wait=LONGEST_WAIT_S)
        if answer.ready:
            return answer.body
        if time.monotonic() > deadline:
            raise CommandFailed(f"The database for instance {INSTANCE} was not ready within {POOL_PATIENCE_S} s.")
        time.sleep(_PAUSE_S)


async def _prove(credentials: dict[str, Any]) -> None:
    """A login with what the API gave, and SQL that leaves nothing behind."""
    conn = await _login(credentials)
    try:
        await conn.execute("CREATE TEMP TABLE proof AS SELECT 1 AS works")
        await conn.fetchval("SELECT works FROM proof")
    finally:
        await conn.close()


async def _login(credentials: dict[str, Any]) -> "asyncpg.Connection[asyncpg.Record]":
    deadline = time.monotonic() + LOGIN_PATIENCE_S
    while True:
        try:
            return await asyncpg.connect(
                host=credentials["db_host"],
                port=credentials["db_port"],
                database=credentials["db_name"],
                user=credentials["db_user"],
                password=credentials["db_password"],
                timeout=5,
            )
        except _NOT_YET as e:
            if time.monotonic() > deadline:
                raise CommandFailed(
                    f"The database of instance {INSTANCE} does not answer: {e or type(e).__name__}"
                ) from e
            await asyncio.sleep(_PAUSE_S)  # noqa: TID251  a server that was stopped with us is on its way
