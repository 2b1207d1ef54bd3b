"""Six bugs that a reviewer might let pass. Each changes the modules of the process it is planted in, before they are used."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

BESIDE_S = 0.1
"""How much later comes what should have been in the same transaction."""


def slot_in_a_second_transaction() -> None:
    """A free slot is looked for, and taken once the row that sits in it is committed."""
    from database_service.store import pool, slots

    known: list[Any] = []
    make = pool.Db.__init__

    def remember(self: Any, *arguments: Any) -> None:
        make(self, *arguments)
        known[:] = [self]

    look = slots.RESERVE.partition("(\n")[2].rpartition(")\nRETURNING")[0].replace("$2", "$1")
    taking: set[asyncio.Task[None]] = set()

    async def reserve(conn: Any, database_id: Any, wanted_name: str | None = None) -> Any:
        found = await conn.fetchrow(look.replace("SELECT f.server_id", "SELECT f.rank, f.server_id"), wanted_name)
        if found is None:
            return None
        task = asyncio.create_task(take(database_id, found))
        taking.add(task)
        task.add_done_callback(taking.discard)
        return slots.Seat(found["server_id"], found["rank"])

    async def take(database_id: Any, found: Any) -> None:
        await asyncio.sleep(BESIDE_S)
        async with known[0].transaction() as conn:
            await conn.execute(
                "UPDATE slots SET database_id = $1 WHERE server_id = $2 AND ordinal = $3",
                database_id, found["server_id"], found["ordinal"],
            )  # fmt: skip

    pool.Db.__init__ = remember  # type: ignore[method-assign]
    slots.reserve = reserve


def key_ignored() -> None:
    """Whoever sends a rotation again with the same key gets another login."""
    from database_service.store import logins

    insert = logins.insert

    async def keyless(conn: Any, *, request_key: str | None = None, **row: Any) -> Any:
        return await insert(conn, **row)

    async def never(conn: Any, database_id: Any, key: str) -> None:
        return None

    logins.insert = keyless
    logins.by_request_key = never


def no_fence() -> None:
    """A step's result is written, whoever changed the row meanwhile."""
    from database_service.store import databases

    databases.SAVE = _replaced(databases.SAVE, "d.version = $2", "$2::bigint IS NOT NULL")


def door_left_open() -> None:
    """A released database is called released, and its logins still work."""
    from database_service.dataplane.sessions import TenantServers

    async def close(self: Any, admin: Any, tenant: Any) -> None:
        return None

    TenantServers.close = close  # type: ignore[method-assign]


def password_stored_last() -> None:
    """A rotation tells the server a password, and stores it when that is done."""
    from database_service.dataplane.sessions import TenantServers
    from database_service.reconcilers import databases as steps
    from database_service.secretbox import new_password

    make_login, login_made = TenantServers.make_login, steps._login_made
    passwords: dict[str, Any] = {}

    async def make(self: Any, admin: Any, tenant: Any, login: Any) -> None:
        passwords[login.role] = new_password()
        await make_login(self, admin, tenant, replace(login, password=passwords[login.role]))

    async def made(deps: Any, database: Any, login: Any, now: Any) -> Any:
        saved = await login_made(deps, database, login, now)
        await asyncio.sleep(BESIDE_S)
        async with deps.db.transaction() as conn:
            sealed = deps.secrets.seal(passwords[login.role], login.id)
            await conn.execute("UPDATE logins SET password_sealed = $2 WHERE id = $1", login.id, sealed)
        return saved

    TenantServers.make_login = make  # type: ignore[method-assign]
    steps._login_made = made


def lease_for_ever() -> None:
    """Whoever dies at work on a database takes it along."""
    from database_service.store import databases

    expired = "(d.lease_until IS NULL OR d.lease_until <= $2)"
    databases.CLAIM = _replaced(databases.CLAIM, expired, "d.lease_until IS NULL")


def _replaced(sql: str, what: str, by: str) -> str:
    assert what in sql, f"the code has changed; this bug cannot be planted any more: {what}"
    return sql.replace(what, by)


BUGS: Mapping[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        slot_in_a_second_transaction, key_ignored, no_fence, door_left_open, password_stored_last, lease_for_ever,
    )
}  # fmt: skip
