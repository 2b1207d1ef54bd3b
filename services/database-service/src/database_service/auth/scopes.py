"""What a token may do. Each scope stands alone: none includes another, so a token reads exactly as what it may do."""

from collections.abc import Set
from enum import StrEnum


class Scope(StrEnum):
    DATABASES_READ = "databases:read"
    DATABASES_WRITE = "databases:write"
    DATABASES_SECRETS = "databases:secrets"
    ADMIN_READ = "admin:read"
    ADMIN_WRITE = "admin:write"
    METRICS_READ = "metrics:read"


ALL: Set[str] = frozenset(Scope)

OF_CONSUMERS: Set[str] = frozenset(scope for scope in Scope if scope.startswith("databases:"))
"""What a service needs that asks for databases for others."""

OF_VIEWERS: Set[str] = frozenset({Scope.ADMIN_READ})
OF_OPERATORS: Set[str] = frozenset({Scope.ADMIN_READ, Scope.ADMIN_WRITE, Scope.DATABASES_READ, Scope.DATABASES_WRITE})
OF_SECRET_READERS: Set[str] = frozenset({Scope.DATABASES_SECRETS})
"""What people get who sign in to the hub by OpenID Connect, each beside the others."""
