"""Floor: the least a web application over a database can be, on the API's own stack. What the API is compared with.

One route: body parsed by pydantic, one INSERT with its COMMIT, a JSON answer rendered by pydantic. No token, no log.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import asyncpg
from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, StringConstraints

from database_service.domain.plans import Tier

CONNECTIONS = 20
"""As many as the API's own default."""

TABLE = """
CREATE TABLE IF NOT EXISTS floor (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, instance_id text NOT NULL, customer_id text NOT NULL,
    plan_tier text NOT NULL, at timestamptz NOT NULL DEFAULT now())"""
INSERT = "INSERT INTO floor (instance_id, customer_id, plan_tier) VALUES ($1, $2, $3) RETURNING id"

CallerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class Wanted(BaseModel):
    instance_id: CallerId
    customer_id: CallerId
    plan_tier: Tier


class Stored(BaseModel):
    id: int
    instance_id: str
    plan_tier: str


def make_app() -> FastAPI:
    dsn = Path(os.environ["FLOOR_DSN_FILE"]).read_text()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS, reset=_no_reset) as pool:
            await pool.execute(TABLE)
            app.state.pool = pool
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.get("/health")
    async def health() -> Response:
        return Response(b"{}", media_type="application/json")

    @app.post("/insert")
    async def insert(wanted: Wanted, request: Request) -> Response:
        row_id = await request.app.state.pool.fetchval(INSERT, wanted.instance_id, wanted.customer_id, wanted.plan_tier)
        stored = Stored(id=row_id, instance_id=wanted.instance_id, plan_tier=wanted.plan_tier)
        return Response(stored.model_dump_json(), media_type="application/json")

    return app


async def _no_reset(_: object) -> None:
    """As in the API: giving a connection back costs no round trip."""
