"""Registers: each server keeps whose its databases are, written behind whatever changed it, never in the way of it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog

from database_service.deps import Deps
from database_service.domain.errors import ServiceError
from database_service.domain.ids import ServerId
from database_service.domain.register import Entry
from database_service.domain.servers import Server
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.capacity import in_parallel
from database_service.reconcilers.leasing import said, timed
from database_service.store import register, servers

log = structlog.get_logger(__name__)

PATIENCE = timedelta(seconds=20)
SEALED = ("admin_password_sealed", "certificate", "authorities")
"""Kept by whoever runs the server, not on it: who could read it there is in already."""


@dataclass(slots=True)
class Written:
    """As of when this process wrote each register. What was there then is not known: another process may have written since.
    What it does not know it writes once more, which does no harm."""

    stamps: dict[ServerId, str] = field(default_factory=dict)


async def keep(deps: Deps, written: Written) -> int:
    """Write the registers of servers whose rows say something else than was written; returns how many."""
    async with deps.db.connection() as conn:
        stamps = await register.stamps(conn)
    changed = [server_id for server_id, stamp in stamps.items() if written.stamps.get(server_id) != stamp]
    kept: list[ServerId] = []

    async def one(server_id: ServerId) -> None:
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                await _keep_on(deps, server_id)
        except (ServiceError, TimeoutError) as e:
            log.info("register.not_written", server_id=str(server_id), error=said(e))
        else:
            kept.append(server_id)
            written.stamps[server_id] = stamps[server_id]

    await in_parallel(deps, changed, one)
    return len(kept)


async def _keep_on(deps: Deps, server_id: ServerId) -> None:
    async with deps.db.connection() as conn:
        server = await servers.get(conn, server_id)
        entries = await register.entries(conn, server_id)
    if server is not None:
        with timed("register") as came_out:
            await _write(deps, server, entries)
            came_out("written")


async def _write(deps: Deps, server: Server, entries: Sequence[Entry]) -> None:
    if provisioner := deps.provisioners.get(server.provisioner):
        await provisioner.remember(server.id, json.dumps(dict(entries[0].told), sort_keys=True))
    await deps.tenants.write_register(admin_of(deps, server), server.id, [_public(entry) for entry in entries])


def _public(entry: Entry) -> Entry:
    return replace(entry, told={name: value for name, value in entry.told.items() if name not in SEALED})
