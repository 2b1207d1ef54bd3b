"""The first pools and a first database, ordered as any other caller would: through the API."""

import asyncio
import time
from typing import Any

import asyncpg

from database_service.cli.client import LONGEST_WAIT_S, Client
from database_service.cli.exits import CommandFailed
from database_service.cli.steps import Steps

INSTANCE = "demo"
ASK = {"instance_id": INSTANCE, "customer_id": "demo", "plan_tier": "starter"}
POOL_PATIENCE_S = 180
LOGIN_PATIENCE_S = 60
_LIVE = ("provisioning", "initializing", "active", "full", "maintenance", "error")
_PAUSE_S = 0.1
_NOT_YET = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)


def first_steps(client: Client, steps: Steps, pools: int) -> dict[str, Any]:
    """Have this many pools and the demo database; give its credentials, proved by a login. CommandFailed."""
    live = _pools(client)
    _wake(client, live)
    missing = pools - len(live)
    for _ in range(missing):
        client.post("/admin/pools", {})
    if pools:
        with steps.step(f"Starting {pools} pool(s)", f"{pools} pool(s) active"):
            _until_active(client, pools)
    with steps.step("Allocating a database for instance demo", "Database for instance demo"):
        credentials = _allocated(client)
    with steps.step("Logging in", "Logged in to it and ran SQL"):
        asyncio.run(_prove(credentials))
    return credentials


def _pools(client: Client) -> list[dict[str, Any]]:
    """All live shared servers, page by page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = client.get("/admin/pools", server_type="shared", limit=100, cursor=cursor).body
        found += [pool for pool in page["pools"] if pool["status"] in _LIVE]
        cursor = page.get("next_cursor")
        if not cursor:
            return found


def _wake(client: Client, pools: list[dict[str, Any]]) -> None:
    """Servers were stopped with the system before; a look at each starts it now and not at its next health check."""
    for pool in pools:
        client.post(f"/admin/pools/{pool['id']}/health-check")


def _until_active(client: Client, wanted: int) -> None:
    deadline = time.monotonic() + POOL_PATIENCE_S
    while True:
        pools = _pools(client)
        if sum(pool["status"] in ("active", "full") for pool in pools) >= wanted:
            return
        if failed := next((pool for pool in pools if pool["status"] == "error"), None):
            raise CommandFailed(
                f"The pool {failed['name']} does not start: {failed.get('last_error') or 'see the worker log'}"
            )
        if time.monotonic() > deadline:
            raise CommandFailed(f"The pools did not become active within {POOL_PATIENCE_S} s.")
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
