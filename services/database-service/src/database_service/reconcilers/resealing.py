"""Re-sealing: what an older key of the ring sealed or signed is sealed or signed with its newest, while the service serves."""

from dataclasses import dataclass

import structlog

from database_service.deps import Deps
from database_service.domain.errors import SecretUnreadable
from database_service.store import links, sealed
from database_service.store.sealed import Column, Sealed

BATCH = 500
_BEGINNING: object = None

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many were done. Those of others were just being changed, or cannot be read with this ring; see `views.keys`."""

    secrets: int
    links: int


async def reseal(deps: Deps) -> Resealed:
    """One pass over all that is sealed or signed. Digests of tokens are no part of it: they need the token's text."""
    secrets = [await _reseal_column(deps, column) for column in sealed.SEALED]
    done = Resealed(sum(secrets), await _sign_links(deps))
    if done.secrets or done.links:
        log.info("keys.resealed", key=deps.secrets.newest, secrets=done.secrets, links=done.links)
    return done


async def _reseal_column(deps: Deps, column: Column) -> int:
    done, after = 0, _BEGINNING
    while True:
        async with deps.db.connection() as conn:
            found = await sealed.under_other_keys(conn, column, after, deps.secrets.newest, BATCH)
        if not found:
            return done
        done += await _reseal(deps, column, found)
        after = found[-1].place


async def _reseal(deps: Deps, column: Column, found: list[Sealed]) -> int:
    readable = [(old, new) for old in found if (new := _sealed_again(deps, old))]
    if len(readable) < len(found):
        log.error("keys.unreadable", table=column.table, column=column.name, number=len(found) - len(readable))
    async with deps.db.connection() as conn:
        return await sealed.replace(conn, column, [old for old, _ in readable], [new for _, new in readable])


def _sealed_again(deps: Deps, old: Sealed) -> bytes | None:
    """None where its key is gone from the ring: the rest must not wait for that."""
    try:
        return deps.secrets.sealed_again(old.value, old.place)
    except SecretUnreadable:
        return None


async def _sign_links(deps: Deps) -> int:
    """A link whose signature does not fit is left as it is: signed anew, it would be ours."""
    macs, done, after = deps.secrets.event_macs, 0, 0
    while True:
        async with deps.db.connection() as conn:
            found = await links.under_other_keys(conn, after, macs.newest, BATCH)
            ours = [link for link in found if macs.fits(link.mac, link.signed, link.mac_key)]
            await links.sign_again(conn, ours, [macs.of(link.signed) for link in ours], macs.newest)
        if not found:
            return done
        done += len(ours)
        after = found[-1].seq
