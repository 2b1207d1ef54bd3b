"""The register: what a server keeps of whose its databases are, so that rows can be made again when none is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from database_service.domain.ids import ServerId


class Kind(StrEnum):
    SERVER = "server"
    DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of ours as the register of its server tells it."""

    id: UUID
    kind: Kind
    server_id: ServerId
    """Under which id the server is known to whoever wrote it."""
    owner_role: str
    """By which a database is known on its server; empty for the server itself."""
    version: int
    """The row's when it was written: of two entries for one row the higher one counts."""
    told: Mapping[str, Any]
    """Columns of the row, as JSON has them."""

    @property
    def is_twin(self) -> bool:
        """Of what a database left behind when it moved."""
        return self.told.get("twin_of") is not None


@dataclass(frozen=True, slots=True)
class Standing:
    """A database of ours as it stands on its server."""

    name: str
    owner: str
    open: bool
    """Whether any of its logins may log in."""
    logins: frozenset[str]


@dataclass(frozen=True, slots=True)
class Registered:
    """What a server keeps of itself, and what is on it."""

    entries: Sequence[Entry] = ()
    databases: Sequence[Standing] = ()

    def servers(self) -> Sequence[Entry]:
        """Under which ids it is known. More than one where several installations have adopted it."""
        return [entry for entry in self.entries if entry.kind is Kind.SERVER]
