"""Faults: a counter around every outside effect, and a death at any of them.

An effect is a committed write on our database, a statement that changes a tenant server, or an act of a provisioner's hands.
Each counts twice: a process may die before it, and after it but before it knows.
"""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import asyncpg

from database_service.dataplane.connect import Moment
from database_service.provisioners.place import Hands
from database_service.store.pool import Conn, Db

_in_transaction: ContextVar[bool] = ContextVar("in_transaction", default=False)

SHARE = 8
"""A run kills at every so many effects only, each day at others: all of them take an hour."""

WROTE = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL"


def moments(counted: int, of: str, share: int = SHARE) -> Sequence[int]:
    """At which of so many effects, from 1, this run kills: every `share`th. CRASH_POINTS=all: at all of them; CRASH_POINTS=name:7:
    there, in what has this name."""
    name, _, number = os.environ.get("CRASH_POINTS", "").partition(":")
    if name == of and number:
        return [int(number)]
    if name == "all":
        return range(1, counted + 1)
    return range(datetime.now(UTC).toordinal() % min(share, counted) + 1, counted + 1, share)


class Killed(BaseException):
    """The process dies here. A BaseException, so that nothing that handles errors survives it."""


@dataclass
class Fate:
    """Counts effects; kills at the one numbered `at` (from 1). 0 only counts."""

    at: int = 0
    seen: int = 0
    where: str = ""

    def effect(self, what: str) -> None:
        self.seen += 1
        if self.seen == self.at:
            self.where = what
            raise Killed(what)

    def outside(self, what: str) -> None:
        """An effect outside our database; none of ours may be in a transaction meanwhile."""
        assert not _in_transaction.get(), f"a transaction is open while this is done outside: {what}"
        self.effect(what)

    def spare(self) -> None:
        """Nobody dies from now on."""
        self.at = 0

    def on_statement(self, moment: Moment, template: str) -> None:
        self.outside(f"{moment} {template.strip().splitlines()[0][:60]}")


class Fated:
    """Before any service's Db: a death before and after each commit that wrote something."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", fate: Fate) -> None:
        super().__init__(pool)  # type: ignore[call-arg]
        self._fate = fate

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Conn]:
        async with self.transaction() as conn:
            yield conn

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Conn]:
        async with super().connection() as conn:  # type: ignore[misc]
            async with conn.transaction():
                inside = _in_transaction.set(True)
                try:
                    yield conn
                finally:
                    _in_transaction.reset(inside)
                wrote = await conn.fetchval(WROTE)
                if wrote:
                    self._fate.effect("before commit")
            if wrote:
                self._fate.effect("after commit")


class FatedDb(Fated, Db):
    """Our database."""


class FatedHands:
    """A provisioner's hands, with a death before and after each act."""

    ACTS = ("make_room", "write_identity", "make_data", "write_settings", "start", "stop", "bury", "delete")

    def __init__(self, hands: Hands, fate: Fate) -> None:
        self._hands = hands
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._hands, name)
        return partial(self._fated, name, act) if name in self.ACTS else act

    def _fated(self, name: str, act: Callable[..., object], *args: object) -> object:
        self._fate.outside(f"before {name}")
        result = act(*args)
        self._fate.outside(f"after {name}")
        return result
