"""Who vouches for servers, and for how many."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from database_service.deps import Deps
from database_service.domain.errors import NoAuthority
from database_service.domain.tls import bundle, issuer_of
from database_service.store import tls


@dataclass(frozen=True, slots=True)
class AuthorityView:
    """`issues`: certificates are made by it now. `servers` are those that have one of it."""

    id: UUID
    generation: int
    certificate: str
    issues_from: datetime
    issues: bool
    servers: int


async def all_trusted(deps: Deps) -> Sequence[AuthorityView]:
    """In the order of their generations; none where no server needed one yet."""
    async with deps.db.reading() as conn:
        known = await tls.authorities(conn)
        counts = await tls.servers_of(conn, known)
    current = issuer_of(known, deps.now())
    return [
        AuthorityView(one.id, one.generation, one.certificate, one.issues_from, one == current, servers)
        for one, servers in zip(known, counts, strict=True)
    ]


async def roots(deps: Deps) -> str:
    """What a client trusts, as PEM. Raises NoAuthority."""
    async with deps.db.reading() as conn:
        known = await tls.authorities(conn)
    if not known:
        raise NoAuthority
    return bundle(known)
