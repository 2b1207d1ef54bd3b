"""TLS of servers: who vouches for them, what each shows for itself, and when that is renewed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

AUTHORITY_LIFE = timedelta(days=3650)
CERTIFICATE_LIFE = timedelta(days=90)
RENEWED_BEFORE = timedelta(days=30)
"""So long before its end a certificate is renewed: a month of trouble passes before anybody is refused."""
BACKDATED = timedelta(hours=1)
"""Clocks of clients that are late must not refuse what was just made."""
OVERLAP = timedelta(days=30)
"""So long a new authority is only shown before it vouches for servers: time for clients to fetch it."""

Names: TypeAlias = frozenset[str]


@dataclass(frozen=True, slots=True)
class Authority:
    """Who vouches for servers. `certificate` is PEM; its key is sealed in the row."""

    id: UUID
    generation: int
    certificate: str
    issues_from: datetime


@dataclass(frozen=True, slots=True)
class Identity:
    """What one server shows for itself, and who vouches for it. A server without one speaks no TLS."""

    key_id: str
    """Names the key without telling anything of it."""
    key_sealed: bytes
    certificate: str
    """PEM: the newest there is, which the server has where it is `installed`."""
    names: Names
    not_after: datetime
    authority_id: UUID
    installed: bool
    authorities: Sequence[Authority]
    """Every one that is trusted, in the order of their generations."""

    @property
    def roots(self) -> str:
        """What a client trusts, as PEM: also those that vouch from tomorrow on, or did until yesterday."""
        return bundle(self.authorities)

    def due(self, host: str, now: datetime) -> bool:
        """Whether the server needs another certificate, or has not yet got the newest."""
        return not self.installed or self.unfit(host, now)

    def unfit(self, host: str, now: datetime) -> bool:
        """Whether another certificate has to be made: this one ends soon, is of an older authority, or not for this host."""
        issuer = issuer_of(self.authorities, now)
        outdated = issuer is not None and issuer.id != self.authority_id
        return outdated or host not in self.names or now >= self.not_after - RENEWED_BEFORE


def bundle(authorities: Sequence[Authority]) -> str:
    return "".join(authority.certificate for authority in authorities)


def issuer_of(authorities: Sequence[Authority], now: datetime) -> Authority | None:
    """The newest whose time has come."""
    ready = [authority for authority in authorities if authority.issues_from <= now]
    return max(ready, key=lambda authority: authority.generation, default=None)
