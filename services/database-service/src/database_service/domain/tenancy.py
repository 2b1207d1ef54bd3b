"""What the data plane is told and what it tells: values that travel between reconcilers and tenant servers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from database_service.domain.ids import ServerId
from database_service.domain.plans import Limits
from database_service.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class Admin:
    """How to log in to a tenant server as its administrator."""

    server_id: ServerId
    host: str
    port: int
    user: str
    password: Secret
    roots: str | None = None
    """Who vouches for the server, as PEM: nobody else is talked to. None: it speaks no TLS, or only its owner knows."""


@dataclass(frozen=True, slots=True)
class LoginSpec:
    role: str
    password: Secret


@dataclass(frozen=True, slots=True)
class TenantSpec:
    """A tenant database as it should be on its server. `physical_name` is what it is called there now, None if never built."""

    name: str
    physical_name: str | None
    owner_role: str
    template: str
    limits: Limits
    logins: Sequence[LoginSpec] = ()
    waited_for: bool = False
    """Somebody waits for it, so it is built the way that answers soonest; else the way that costs its server least."""


@dataclass(frozen=True, slots=True)
class Overrun:
    """A session that took more than its plan, or its server, has for it, and was ended. `seconds` is how long it was at that."""

    role: str
    database: str
    why: str
    seconds: float


@dataclass(frozen=True, slots=True)
class OurDatabase:
    """A database that an owner role of ours owns."""

    name: str
    oid: int
    owner: str


@dataclass(frozen=True, slots=True)
class OurRole:
    """A role that carries our mark; `owns` are the databases it owns."""

    name: str
    oid: int
    owns: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Ours:
    """All on a server that is ours by its marks, whether a row knows it or not."""

    databases: Sequence[OurDatabase] = ()
    roles: Sequence[OurRole] = ()
    files: frozenset[str] = frozenset()
    """Directories in `base` that no database has."""
    files_unsettled: frozenset[str] = frozenset()
    """The same, seen while databases were being made or dropped: any of these may be theirs."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """An existing server as it was found before adoption. `changes` are the sentences of what adoption would change."""

    postgres_version: str
    max_connections: int
    superuser: bool
    databases: Mapping[str, int] = field(default_factory=dict)
    """Names and sizes in bytes."""
    roles: Sequence[str] = ()
    changes: Sequence[str] = ()
