"""SignIn: who may come in by OpenID Connect, and for how long."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from database_service.auth.oidc.errors import NoRole
from database_service.auth.oidc.flow import Flow
from database_service.auth.oidc.people import Person, Roles
from database_service.auth.oidc.provider import Provider
from database_service.auth.rate import OF_STRANGERS, Rate
from database_service.auth.tokens import Caller
from database_service.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class SignIn:
    """What is set of it."""

    provider: Provider
    roles: Roles
    label: str
    """What people know the provider as."""
    home: str
    """The site that browsers find the hub on; `https://…` but for a trial."""
    lasts: timedelta
    """How long a session does."""
    strangers: Rate[str] = field(default_factory=lambda: Rate("address", OF_STRANGERS))
    """How fast one address may come back from the provider as nobody."""

    async def person(self, code: Secret, flow: Flow, now: Callable[[], datetime], address: str) -> Person:
        """Who came back with this code, from this address. What the provider raises, NoRole, TooManyRequests."""
        self.strangers.take(address)
        claims = await self.provider.claims(code, flow, now)
        self.strangers.give_back(address)
        return self.roles.person(self.provider.client.issuer, claims)

    def caller(self, person: Person, until: datetime) -> Caller | None:
        """What they may do by what is set now; None where that is nothing any more."""
        if person.issuer != self.provider.client.issuer:
            return None
        try:
            return self.roles.caller(person, until)
        except NoRole:
            return None
