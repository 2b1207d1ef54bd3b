"""Authorities on the wire: their certificates, never their keys."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import Field

from database_service.api.schemas.common import In, Out, Passing
from database_service.views.authorities import AuthorityView


class AuthorityOut(Out):
    id: UUID
    generation: int
    certificate: Passing = Field(description="PEM.")
    issues_from: datetime = Field(description="Until then it is only shown, so that clients can learn to trust it.")
    issues: bool = Field(description="Certificates of servers are made by it now.")
    servers: int = Field(description="Servers whose newest certificate is of it.")

    @classmethod
    def of(cls, authority: AuthorityView) -> "AuthorityOut":
        return cls(
            id=authority.id,
            generation=authority.generation,
            certificate=authority.certificate,
            issues_from=authority.issues_from,
            issues=authority.issues,
            servers=authority.servers,
        )


class AuthoritiesOut(Out):
    """All that are trusted. One that vouches for no server any more leaves by itself once its successor does."""

    authorities: list[AuthorityOut]

    @classmethod
    def of(cls, found: Iterable[AuthorityView]) -> "AuthoritiesOut":
        return cls(authorities=[AuthorityOut.of(authority) for authority in found])


class RotateAuthorityIn(In):
    overlap_seconds: int | None = Field(
        None,
        ge=0,
        le=365 * 86400,
        description="How long the new one is only shown before servers get certificates of it; without it 30 days.",
    )

    @property
    def overlap(self) -> timedelta | None:
        return None if self.overlap_seconds is None else timedelta(seconds=self.overlap_seconds)
