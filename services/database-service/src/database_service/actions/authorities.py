"""Authorities that vouch for servers: another one, in time for clients to learn to trust it."""

from datetime import timedelta

from database_service.deps import Deps
from database_service.domain.errors import NoAuthority
from database_service.domain.ids import Who
from database_service.domain.tls import Authority
from database_service.reconcilers import certifying
from database_service.store import events, tls


async def rotate_authority(deps: Deps, who: Who, overlap: timedelta | None = None) -> Authority:
    """The next authority. It is trusted at once, vouches once `overlap` has passed, and then every server gets a certificate of it.

    Where one already waits for its time, that one; raises NoAuthority where no server needed one yet.
    """
    async with deps.db.transaction() as conn:
        known = await tls.authorities(conn)
        if not known:
            raise NoAuthority
        if known[-1].issues_from > deps.now():
            return known[-1]
        new = await certifying.add_authority(
            conn, deps, known, deps.policy.authority_overlap if overlap is None else overlap
        )
        await events.append(
            conn, at=deps.now(), who=who, action="authority.added", subject="authority", subject_id=new.id,
            why=f"generation {new.generation}, vouches from {new.issues_from:%Y-%m-%d %H:%M} UTC on",
        )  # fmt: skip
        return new
