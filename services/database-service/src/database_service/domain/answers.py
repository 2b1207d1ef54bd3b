"""What the verbs answer: a database to use, or word of when to ask again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from database_service.domain.credentials import Credentials
from database_service.domain.databases import Database, Login, Status
from database_service.domain.ids import CustomerId, InstanceId, ServerId, TokenId
from database_service.domain.plans import ServerType
from database_service.domain.secret import Secret
from database_service.domain.servers import Address
from database_service.domain.tenancy import Inventory


@dataclass(frozen=True, slots=True)
class Allocation:
    """A database that works now, with its newest login."""

    database: Database
    server_id: ServerId
    server_name: str
    server_type: ServerType
    address: Address
    login: Login
    password: Secret
    roots: str | None
    """Who vouches for the server, as PEM; None: it speaks no TLS."""

    @property
    def credentials(self) -> Credentials:
        return Credentials(
            host=self.address.host,
            port=self.address.port,
            name=self.database.name,
            user=self.login.role,
            password=self.password,
            verified=self.roots is not None,
        )


@dataclass(frozen=True, slots=True)
class Pending:
    """Accepted and stored; it will be done. `retry_after` is when to ask again."""

    instance_id: InstanceId
    status: Status
    retry_after: timedelta
    message: str
    server_id: ServerId | None = None


@dataclass(frozen=True, slots=True)
class Adoption:
    """What was found on a server somebody else runs, and the confirmation that agrees to just that."""

    inventory: Inventory
    confirmation: str


@dataclass(frozen=True, slots=True)
class Token:
    """An API token without its secret."""

    id: TokenId
    name: str
    scopes: Sequence[str]
    customer_id: CustomerId | None
    """Whose databases alone it is for; None: everybody's."""
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class AdoptTarget:
    """A server somebody else runs, and how many databases it may hold."""

    host: str
    port: int
    user: str
    password: Secret
    max_instances: int
    name: str | None = None
