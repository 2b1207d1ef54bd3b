"""Our own database: allocated for us by database-service, and found again wherever it is moved to."""

import asyncio
import ssl
from typing import Any
from urllib.parse import quote

import asyncpg

from instance_service.databases.base import Databases
from instance_service.domain.databases import State
from instance_service.domain.errors import DatabaseRefused, DatabasesUnavailable, OwnDatabaseUnavailable
from instance_service.domain.ids import CustomerId
from instance_service.domain.plans import Tier
from instance_service.domain.workloads import Login
from instance_service.store.migrate import migrate
from instance_service.store.pool import AWAY

REFUSED = (*AWAY, asyncpg.PostgresError)
"""Whatever a server says to who would log in: a database that is being moved is closed in more ways than one."""


class OwnDatabase:
    """A `Connect`. Its credentials are in memory alone: read when first needed, and again when they stop working, as after
    a move or a rotation. Whoever comes first asks for the database and brings it to the newest revision.
    """

    def __init__(self, databases: Databases, instance_id: str, customer_id: CustomerId, tier: Tier) -> None:
        self._databases = databases
        self._instance_id = instance_id
        self._customer_id = customer_id
        self._tier = tier
        self._login: Login | None = None
        self._finding = asyncio.Lock()

    async def __call__(self, *_: object, **options: Any) -> "asyncpg.Connection[Any]":
        """A connection with these options; OwnDatabaseUnavailable where there can be none now."""
        known = self._login
        if known is not None:
            try:
                return await _connect(known, options)
            except REFUSED:
                pass  # it was moved or rotated, or is away: database-service knows
        try:
            return await _connect(await self._find(known), options)
        except REFUSED as e:
            raise OwnDatabaseUnavailable(f"it does not answer ({type(e).__name__})") from e

    async def _find(self, stale: Login | None) -> Login:
        """The credentials of now; one asks while the others wait for what it finds."""
        async with self._finding:
            if self._login is None or self._login is stale:
                self._login = await self._ready()
            return self._login

    async def _ready(self) -> Login:
        try:
            found = await self._databases.look(self._instance_id)
            if found.state is State.ABSENT:  # not asked for each time: an operator may have given it another plan
                found = await self._databases.allocate(self._instance_id, self._customer_id, self._tier)
            if found.state is not State.READY:
                raise OwnDatabaseUnavailable(found.detail or f"it is {found.state}")
            login = await self._databases.login(self._instance_id)
        except (DatabasesUnavailable, DatabaseRefused) as e:
            raise OwnDatabaseUnavailable(str(e)) from e
        await migrate(_dsn(login), trust=_trust(login))
        return login


async def _connect(login: Login, options: dict[str, Any]) -> "asyncpg.Connection[Any]":
    conn: asyncpg.Connection[Any] = await asyncpg.connect(
        host=login.address.host,
        port=login.address.port,
        database=login.database,
        user=login.user,
        password=login.password.reveal(),
        ssl=_trust(login),
        **options,
    )
    return conn


def _trust(login: Login) -> ssl.SSLContext | None:
    return ssl.create_default_context(cadata=login.roots) if login.roots else None


def _dsn(login: Login) -> str:
    user, password, name = (quote(part, safe="") for part in (login.user, login.password.reveal(), login.database))
    host = f"[{login.address.host}]" if ":" in login.address.host else login.address.host
    return f"postgresql://{user}:{password}@{host}:{login.address.port}/{name}"
