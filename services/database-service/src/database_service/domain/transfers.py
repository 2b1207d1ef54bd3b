"""What moving a database from one server to another is told and tells: values between reconcilers and the data plane."""

from collections.abc import Sequence
from dataclasses import dataclass

from database_service.domain.tenancy import Admin, LoginSpec, TenantSpec

MOVABLE_EXTENSIONS = frozenset({
    "bloom", "btree_gin", "btree_gist", "citext", "cube", "dict_int", "dict_xsyn", "earthdistance", "fuzzystrmatch",
    "hstore", "intarray", "isn", "lo", "ltree", "pg_stat_statements", "pg_trgm", "pgcrypto", "plpgsql", "seg", "tablefunc",
    "tcn", "tsm_system_rows", "tsm_system_time", "unaccent", "uuid-ossp", "vector",
})  # fmt: skip
"""Extensions we make on a target for a tenant. None of them reads files, runs programs or reaches other servers."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to move. It can be moved when there are no `blockers`."""

    size_bytes: int
    tables: int
    large_objects: int
    extensions: Sequence[str] = ()
    blockers: Sequence[str] = ()
    """Sentences: why it cannot be moved, and what to do about it."""
    losses: Sequence[str] = ()
    """Sentences: what would not come along. All of it harmless."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One attempt to bring a database from one server to another.

    `tenant.physical_name` is its name on the source; limits and logins are as they shall be on the target.
    """

    tenant: TenantSpec
    source: Admin
    target: Admin
    staging: str
    """What the copy is called on the target until it is opened. Each attempt has a name of its own."""
    mover: LoginSpec
    """The role that dumps and restores; the same on both servers, there only while a passage is under way."""
    stale: Sequence[str] = ()
    """Stagings of earlier attempts: dropped, and never used again."""


@dataclass(frozen=True, slots=True)
class Progress:
    phase: str
    fraction: float | None = None
    """How much of the phase is done, 0 to 1; None where nobody can tell."""
