"""People who signed in at an identity provider: who they are, what they may do, and how the audit trail names them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from database_service.auth.oidc.errors import NoRole, ProviderMistrusted
from database_service.auth.scopes import OF_OPERATORS, OF_SECRET_READERS, OF_VIEWERS, Scope
from database_service.auth.tokens import Caller
from database_service.domain.ids import PERSON, TokenId

_SUBJECT = re.compile(r"[\x20-\x7e]{1,255}")
_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}")
"""Without the slash that the subject comes after, so that nobody can choose a name which reads like somebody else's."""
_NAMES = ("preferred_username", "email")
_IDS = UUID("5f0a5b0c-8f5e-4a53-9b5c-6a1d3a3f7f0e")
"""The name space of people's ids; any other one would do, but never another from now on."""


@dataclass(frozen=True, slots=True)
class Person:
    """Issuer and subject are who they are; what they are called is for reading, as anybody may call themselves anything."""

    issuer: str
    subject: str
    called: str
    """Empty where the provider gives no name that is fit to be read in one line."""
    values: tuple[str, ...]
    """Of the claim of roles: one for each role that they have."""

    @property
    def name(self) -> str:
        """As events are signed: no token's name begins so, and nobody else's is the same."""
        return f"{PERSON}{self.called}/{self.subject}"

    @property
    def id(self) -> TokenId:
        return TokenId(uuid5(_IDS, f"{self.issuer}\n{self.subject}"))


@dataclass(frozen=True, slots=True)
class Roles:
    """Which values of a claim let somebody in, and to what."""

    claim: str
    viewers: frozenset[str]
    operators: frozenset[str]
    secret_readers: frozenset[str] = frozenset()
    """They may show credentials, where they are operators as well."""

    def scopes_of(self, values: Iterable[str]) -> frozenset[str]:
        had = frozenset(values)
        return frozenset().union(*(scopes for named, scopes in self._all() if named & had))

    def telling(self, values: Iterable[str]) -> tuple[str, ...]:
        """One value for each role: a person may be in hundreds of groups, and a cookie has no room for them."""
        had = frozenset(values)
        return tuple(sorted({min(named & had) for named, _ in self._all() if named & had}))

    def _all(self) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
        yield self.viewers, frozenset(OF_VIEWERS)
        yield self.operators, frozenset(OF_OPERATORS)
        yield self.secret_readers, frozenset(OF_SECRET_READERS)

    def person(self, issuer: str, claims: Mapping[str, object]) -> Person:
        """Whom these claims are of, which were checked. ProviderMistrusted without a usable subject, NoRole."""
        subject = claims.get("sub")
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise ProviderMistrusted(
                "The identity provider's id token names nobody that can be named: its claim 'sub'."
            )
        person = Person(issuer, subject, _called(claims), self.telling(_texts(claims.get(self.claim))))
        if Scope.ADMIN_READ not in self.scopes_of(person.values):
            raise NoRole(self.claim)
        return person

    def caller(self, person: Person, until: datetime) -> Caller:
        """What they may do now, which may be less than when they signed in. NoRole."""
        scopes = self.scopes_of(person.values)
        if Scope.ADMIN_READ not in scopes:
            raise NoRole(self.claim)
        return Caller(person.id, person.name, scopes, None, until, "sign-in")


def _called(claims: Mapping[str, object]) -> str:
    for claim in _NAMES:
        told = claims.get(claim)
        if isinstance(told, str) and _NAME.fullmatch(told):
            return told
    return ""


def _texts(told: object) -> frozenset[str]:
    """Of a claim that is one text, or a list of them."""
    if isinstance(told, str):
        return frozenset((told,))
    return frozenset(each for each in told if isinstance(each, str)) if isinstance(told, list) else frozenset()
