"""Certificates: made and stored before a server gets them, renewed while it runs; and the authorities that vouch for them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from secrets import token_hex
from uuid import uuid4

import structlog

from database_service import certificates
from database_service.deps import Deps
from database_service.domain.secret import Secret
from database_service.domain.servers import Server
from database_service.domain.tenancy import Admin
from database_service.domain.tls import CERTIFICATE_LIFE, Authority, Identity, Names, issuer_of
from database_service.reconcilers.leasing import LostLease, reconciler
from database_service.store import events, servers, tls
from database_service.store.pool import Conn
from database_service.store.tls import Issued, Issuer

log = structlog.get_logger(__name__)


# -- authorities ------------------------------------------------------------------------------------------------------


async def _issuer(conn: Conn, deps: Deps) -> Issuer:
    """Who vouches for servers now. The first one is made here, when the first server needs it, and once whoever else tries."""
    if found := await tls.issuer(conn, deps.now()):
        return found
    await add_authority(conn, deps, (), timedelta())
    made = await tls.issuer(conn, deps.now())
    if made is None:
        raise LookupError("an authority vanished in its own transaction")
    return made


async def add_authority(conn: Conn, deps: Deps, known: Iterable[Authority], overlap: timedelta) -> Authority:
    """The next generation; until `overlap` has passed it is only shown. Of two who add one at once, the second gets the first's."""
    generation, now, key = 1 + max((one.generation for one in known), default=0), deps.now(), certificates.new_key()
    new = Authority(uuid4(), generation, certificates.new_authority(generation, key, now), now + overlap)
    await tls.add_authority(conn, new, deps.secrets.seal(key, new.id), now)
    return next(one for one in await tls.authorities(conn) if one.generation == generation)


async def forget_authorities(deps: Deps) -> None:
    """Those that vouch for nobody any more, and whose successor does, are trusted no longer."""
    async with deps.db.transaction() as conn:
        current = issuer_of(await tls.authorities(conn), deps.now())
        gone = await tls.forget_authorities(conn, current.generation, deps.now()) if current else []
        for authority_id in gone:
            await events.append(
                conn, at=deps.now(), who=reconciler(), action="authority.forgotten", subject="authority",
                subject_id=authority_id, why="no server shows a certificate of it any more",
            )  # fmt: skip


# -- servers ----------------------------------------------------------------------------------------------------------


async def equip(conn: Conn, deps: Deps, server: Server) -> Server:
    """It speaks TLS from now on, with this key and this first certificate. One that does already keeps what it has."""
    if server.tls:
        return server
    key = certificates.new_key()
    issued = await _issue(conn, deps, key, _names(server))
    await tls.equip(conn, server.id, token_hex(4), deps.secrets.seal(key, server.id), issued)
    equipped = await servers.get(conn, server.id)
    if equipped is None:
        raise LookupError(f"server {server.id} vanished in its own transaction")
    return equipped


def identity_of(deps: Deps, server: Server) -> Secret:
    """What its provisioner hands to the server: its key, and the newest certificate for it."""
    shown = _shown(server)
    return Secret(deps.secrets.open(shown.key_sealed, server.id).reveal() + shown.certificate)


async def certify(deps: Deps, server: Server, admin: Admin, host: str) -> None:
    """The certificate that it needs at this host, stored first; recorded as installed once the server shows it."""
    if _shown(server).unfit(host, deps.now()):
        server = await _renewed(deps, server, host)
    certificate = _shown(server).certificate
    if not await deps.tenants.install_certificate(admin, certificate):
        return
    async with deps.db.transaction() as conn:
        if await tls.installed(conn, server.id, certificate):
            await _note(conn, server, deps.now())
    await forget_authorities(deps)


async def _renewed(deps: Deps, server: Server, host: str) -> Server:
    """LostLease where somebody else has renewed it meanwhile."""
    shown = _shown(server)
    async with deps.db.transaction() as conn:
        key = deps.secrets.open(shown.key_sealed, server.id)
        issued = await _issue(conn, deps, key, _names(server) | {host})
        renewed = (
            await servers.get(conn, server.id) if await tls.renew(conn, server.id, shown.certificate, issued) else None
        )
    if renewed is None:
        raise LostLease
    return renewed


async def _issue(conn: Conn, deps: Deps, key: Secret, names: Names) -> Issued:
    found, now = await _issuer(conn, deps), deps.now()
    authority = found.authority
    signer = deps.secrets.open(found.key_sealed, authority.id)
    certificate = certificates.issue(authority.certificate, signer, key, names, now)
    return Issued(authority.id, certificate, names, now + CERTIFICATE_LIFE)


def _names(server: Server) -> Names:
    """Its own, by which it is reached on a network of the Swarm, and where it was seen last."""
    return frozenset(filter(None, (server.name, server.host)))


def _shown(server: Server) -> Identity:
    if server.tls is None:
        raise LookupError(f"server {server.id} speaks no TLS")
    return server.tls


async def _note(conn: Conn, server: Server, now: datetime) -> None:
    shown = _shown(server)
    why = f"for {', '.join(sorted(shown.names))}, until {shown.not_after:%Y-%m-%d}"
    log.info("server.certified", server_id=str(server.id), until=shown.not_after.isoformat())
    await events.append(
        conn, at=now, who=reconciler(), action="server.certified", subject="server", subject_id=server.id,
        before=server.status, after=server.status, why=why,
    )  # fmt: skip
