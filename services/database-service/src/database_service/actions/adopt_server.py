"""Adopt a server that somebody else runs: look, show, and change nothing until just that was confirmed."""

import hashlib
import hmac
import json
from uuid import UUID

from database_service.admission.gate import Why, aside
from database_service.deps import Deps
from database_service.domain.answers import Adoption, AdoptTarget
from database_service.domain.errors import AdoptionChanged, AdoptionRefused, InvalidField, TenantServerUnavailable
from database_service.domain.ids import ServerId, Who
from database_service.domain.servers import Address, Server
from database_service.domain.tenancy import Admin, Inventory
from database_service.reconcilers.ordering import Order, new_shared
from database_service.store import databases, servers

OLDEST_VERSION = 16
NOT_YET = ServerId(UUID(int=0))
"""The administrator's sessions of a server that has no row."""


async def look(deps: Deps, target: AdoptTarget) -> Adoption:
    """What is there and what adoption would change; changes nothing. Raises AdoptionRefused with the reason."""
    admin = Admin(NOT_YET, target.host, target.port, target.user, target.password)
    try:
        with aside(Why.SERVER):
            inventory = await deps.tenants.inventory(admin)
    except TenantServerUnavailable as e:
        raise AdoptionRefused(f"{target.host}:{target.port} cannot be adopted: {e}") from e
    _refuse_unfit(inventory)
    return Adoption(inventory, _confirmation(target, inventory))


def _refuse_unfit(inventory: Inventory) -> None:
    if int(inventory.postgres_version.split(".")[0]) < OLDEST_VERSION:
        raise AdoptionRefused(f"it runs PostgreSQL {inventory.postgres_version}; {OLDEST_VERSION} or newer is needed")
    if not inventory.superuser:
        raise AdoptionRefused("this role is no superuser there; building isolated databases needs one")


def _confirmation(target: AdoptTarget, inventory: Inventory) -> str:
    """Agrees to this target with these names and changes; sizes may grow between look and word."""
    seen = [
        target.host, target.port, target.user, target.max_instances, inventory.postgres_version,
        sorted(inventory.databases), sorted(inventory.roles), list(inventory.changes),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]


async def adopt(deps: Deps, target: AdoptTarget, confirmation: str, who: Who) -> Server:
    """The server as one of ours, if it still looks as it did; asked again, the same one.

    Raises AdoptionRefused, AdoptionChanged.
    """
    key = f"adopt:{target.host}:{target.port}"
    async with deps.db.connection() as conn:
        if before := await servers.by_request_key(conn, key):
            return before
    adoption = await look(deps, target)
    if not hmac.compare_digest(adoption.confirmation.encode(), confirmation.encode()):
        raise AdoptionChanged
    order = Order(
        max_instances=target.max_instances, request_key=key, name=target.name, provisioner="external",
        address=Address(target.host, target.port), admin_user=target.user, admin_password=target.password,
    )  # fmt: skip
    try:
        async with deps.db.transaction() as conn:
            server = await new_shared(conn, deps, who, order, why="adopted") or await servers.by_request_key(conn, key)
    except databases.RACED:
        raise InvalidField("name", f"there is a server {target.name!r} already") from None
    if server is None:
        raise LookupError("the conflicting adoption vanished")
    deps.nudge.server(server.id)
    return server
