"""Drift: what is there without a row, and rows whose thing is gone, differs or moved. Reported; removed only when confirmed.

A row is stored before its thing is made, and outlives it. So rows are read before and after the world: what neither reading
knows was made without us, and a row that both readings tell alike was not being worked on in between.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from database_service.domain.ids import DriftId, ServerId
from database_service.domain.policy import Policy
from database_service.domain.servers import Address, Found, Presence, Server, Status
from database_service.domain.tenancy import OurDatabase, OurRole, Ours


class Kind(StrEnum):
    SERVER_WITHOUT_ROW = "server_without_row"
    SERVER_GONE = "server_gone"
    SERVER_DIFFERS = "server_differs"
    SERVER_MOVED = "server_moved"
    DATABASE_WITHOUT_ROW = "database_without_row"
    DATABASE_GONE = "database_gone"
    ROLE_WITHOUT_ROW = "role_without_row"
    ROLE_GONE = "role_gone"
    FILES_WITHOUT_DATABASE = "files_without_database"


LISTED = frozenset({Kind.SERVER_WITHOUT_ROW, Kind.SERVER_GONE, Kind.SERVER_MOVED})
"""Kinds that a provisioner's list shows; the others need a look at, or into, one server."""

THE_ROW_SPEAKS = "It is the row that speaks of it: there is nothing to remove."
UNLABELLED = "It does not carry our label."
STILL_WANTED = "Rows of databases still point to it."
NO_CATALOG_KNOWS = "No catalog tells whose files these were, so only an operator can."
ELSEWHERE_RUN = "Its server is run by somebody else, and another installation may have made it there."
NOT_OURS_TO_RUN = "external"
"""The provisioner of servers that somebody else runs: it lists none, and what is on them may be of two installations."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. Kind, server and thing make it the same one at the next look."""

    kind: Kind
    provisioner: str
    server_id: ServerId
    server_name: str
    thing: str
    """What of the server: a database, a role, a directory of files; empty for the server itself."""
    told: tuple[str, ...]
    """Exactly what there is, in words; who confirms a removal agrees to just these."""
    remark: str = ""
    """What may change from one look to the next."""
    kept: str | None = None
    """Why it is never removed; None where it may be."""
    oid: int | None = None
    """PostgreSQL's number of the database or role, by which it is removed and no other of its name."""

    @property
    def key(self) -> tuple[Kind, ServerId, str]:
        return self.kind, self.server_id, self.thing


@dataclass(frozen=True, slots=True)
class Tenant:
    """A database on a server as its row tells it."""

    name: str
    instance_id: str | None
    owner_role: str
    logins: frozenset[str]
    """Those that should be there."""
    other_logins: frozenset[str]
    """Those that may be there: to be made, or to be dropped."""
    version: int
    settled: bool
    """Built, and nobody is or should be at work on it."""

    @property
    def things(self) -> frozenset[str]:
        return frozenset({self.name, self.owner_role}) | self.logins | self.other_logins


# -- servers ----------------------------------------------------------------------------------------------------------

Servers = Mapping[ServerId, Server]
"""Rows that are not gone."""


def compare_servers(
    before: Servers, after: Servers, listed: Mapping[str, Sequence[Found]], wanted: AbstractSet[ServerId]
) -> list[Finding]:
    """`listed` by provisioner, those that could be asked; `wanted` are the servers that any database's row points to."""
    return [
        finding
        for provisioner, found in listed.items()
        for finding in (
            *_strays(provisioner, found, before, after, wanted),
            *_astray(found, (row for row in settled(before, after) if row.provisioner == provisioner)),
        )
    ]


def settled(before: Servers, after: Servers) -> list[Server]:
    """Servers that should be there and as their rows say: made once, and in the same state in both readings."""
    return [row for row in after.values() if _made(row) and row.id in before and _same(before[row.id], row)]


def _made(row: Server) -> bool:
    ours = row.provisioner != NOT_OURS_TO_RUN
    return ours and row.status in (Status.ACTIVE, Status.ERROR) and row.postgres_version is not None


def _same(before: Server, after: Server) -> bool:
    return (before.status, before.address) == (after.status, after.address)


def _strays(
    provisioner: str, found: Sequence[Found], before: Servers, after: Servers, wanted: AbstractSet[ServerId]
) -> Iterator[Finding]:
    for thing in found:
        if thing.id not in before and thing.id not in after:
            yield Finding(
                Kind.SERVER_WITHOUT_ROW, provisioner, thing.id, thing.name, "", thing.traces, _presence(thing),
                UNLABELLED if not thing.labelled else STILL_WANTED if thing.id in wanted else None,
            )  # fmt: skip


def _presence(thing: Found) -> str:
    return f"{thing.presence} at {_said(thing.address)}" if thing.address else str(thing.presence)


def _astray(found: Sequence[Found], rows: Iterable[Server]) -> Iterator[Finding]:
    there = {thing.id: thing for thing in found}
    for row in rows:
        thing = there.get(row.id)
        if thing is None or thing.presence is Presence.ABSENT:
            left = ", ".join(thing.traces) if thing else ""
            yield of_server(Kind.SERVER_GONE, row, (f"it is not there; what is left of it: {left or 'nothing'}",))
        elif row.status is Status.ACTIVE and thing.address and thing.address != row.address:
            yield of_server(
                Kind.SERVER_MOVED, row, (f"it is at {_said(thing.address)} and its row says {_said(row.address)}",)
            )


def of_server(kind: Kind, row: Server, told: Sequence[str]) -> Finding:
    """What is wrong with a server that has a row."""
    return Finding(kind, row.provisioner, row.id, row.name, "", tuple(told), kept=THE_ROW_SPEAKS)


def _said(address: Address | None) -> str:
    return f"{address.host}:{address.port}" if address else "nothing"


# -- inside a server --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inside:
    """What a look into a server found, and of which things it can say nothing, as they are being worked on."""

    findings: tuple[Finding, ...]
    doubtful: frozenset[str]


def compare_inside(
    server: Server, before: Sequence[Tenant], after: Sequence[Tenant], elsewhere: AbstractSet[str], ours: Ours
) -> Inside:
    """`elsewhere` are those of its roles that any row of any server knows."""
    stood_still = {(row.owner_role, row.version) for row in before if row.settled}
    still = [row for row in after if row.settled and (row.owner_role, row.version) in stood_still]
    known = frozenset(elsewhere).union(*(row.things for row in (*before, *after)))
    busy = (row.things for row in (*before, *after) if row not in still)
    return Inside(
        (*_unknown(server, known, ours), *_missing(server, still, ours), *_forgotten_files(server, ours)),
        ours.files_unsettled.union(*busy),
    )


def _unknown(server: Server, known: AbstractSet[str], ours: Ours) -> Iterator[Finding]:
    """A database is known by its owner, whose name is random: its own name may be a caller's, and be given again."""
    foreign = ELSEWHERE_RUN if server.provisioner == NOT_OURS_TO_RUN else None
    for database in ours.databases:
        if database.owner not in known:
            told = (f"database {database.name} (oid {database.oid}) of {database.owner}",)
            yield _within(server, Kind.DATABASE_WITHOUT_ROW, database.name, told, foreign, database)
    for role in ours.roles:
        if role.name not in known:
            told = (f"role {role.name} (oid {role.oid})",)
            yield _within(server, Kind.ROLE_WITHOUT_ROW, role.name, told, foreign or _holding(role), role)


def _holding(role: OurRole) -> str | None:
    return f"It still owns the database {role.owns[0]}; that goes first." if role.owns else None


def _missing(server: Server, rows: Iterable[Tenant], ours: Ours) -> Iterator[Finding]:
    owners = {database.name: database.owner for database in ours.databases}
    roles = {role.name for role in ours.roles}
    for row in rows:
        whose = f"of instance {row.instance_id}" if row.instance_id else "kept as a spare"
        if owners.get(row.name) != row.owner_role:
            others = sorted(name for name, owner in owners.items() if owner == row.owner_role)
            moved = f", but its owner has {', '.join(others)}" if others else ""
            told = (f"database {row.name}, {whose}, is not there{moved}",)
            yield _within(server, Kind.DATABASE_GONE, row.name, told, THE_ROW_SPEAKS)
        for role in sorted({row.owner_role, *row.logins} - roles):
            told = (f"role {role} of database {row.name}, {whose}, is not there or lost our mark",)
            yield _within(server, Kind.ROLE_GONE, role, told, THE_ROW_SPEAKS)


def _forgotten_files(server: Server, ours: Ours) -> Iterator[Finding]:
    """Left by a server that died in CREATE or DROP DATABASE."""
    for directory in sorted(ours.files):
        told = (f"directory base/{directory} of no database",)
        yield _within(server, Kind.FILES_WITHOUT_DATABASE, directory, told, NO_CATALOG_KNOWS)


def _within(
    server: Server,
    kind: Kind,
    thing: str,
    told: tuple[str, ...],
    kept: str | None,
    numbered: OurDatabase | OurRole | None = None,
) -> Finding:
    oid = numbered.oid if numbered else None
    return Finding(kind, server.provisioner, server.id, server.name, thing, told, kept=kept, oid=oid)


# -- what was found, as it is kept ------------------------------------------------------------------------------------


class State(StrEnum):
    OPEN = "open"
    REMOVING = "removing"
    REMOVED = "removed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Drift:
    """A finding as its row tells it."""

    id: DriftId
    seq: int
    finding: Finding
    first_seen: datetime
    last_seen: datetime
    gone_at: datetime | None
    confirmation: str | None
    confirmed_at: datetime | None
    confirmed_by: str | None
    begun_at: datetime | None
    """From here on its removal is finished, whatever expires."""
    due_at: datetime | None
    attempts: int
    last_error: str | None

    @property
    def state(self) -> State:
        if self.gone_at:
            return State.REMOVED if self.begun_at else State.GONE
        return State.REMOVING if self.due_at else State.OPEN

    def removable_from(self, policy: Policy) -> datetime:
        """The end of its grace."""
        return self.first_seen + policy.drift_grace


# -- confirmations ----------------------------------------------------------------------------------------------------


def confirmation(drift_id: UUID, finding: Finding, until: datetime) -> str:
    """The word that agrees to the removal of just this, until then. It guards against haste, not against malice: who may
    say it may also ask for a new one."""
    expires = int(until.timestamp())
    seen = [str(drift_id), finding.kind, str(finding.server_id), finding.thing, sorted(finding.told), expires]
    return f"{expires:x}-{hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]}"


def expiry(code: str) -> datetime | None:
    """Until when this confirmation holds; None where it is none."""
    try:
        return datetime.fromtimestamp(int(code.partition("-")[0], 16), UTC)
    except (ValueError, OverflowError, OSError):
        return None


# -- removal ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settle:
    """There is nothing to remove any more."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """It is not removed on this confirmation."""

    why: str


@dataclass(frozen=True, slots=True)
class Take:
    """Remove it."""

    finding: Finding


def decide(drift: Drift, again: Finding | None, now: datetime, policy: Policy) -> Settle | Refuse | Take:
    """What becomes of a confirmed removal; `again` is what was found of it just now. A removal that was begun leaves less
    than was confirmed, and is finished."""
    if again is None:
        return Settle()
    if again.kept:
        return Refuse(again.kept)
    if drift.begun_at:
        return Take(again)
    until = expiry(drift.confirmation or "")
    if until is None or now >= until:
        return Refuse("The confirmation expired before the removal was begun.")
    if drift.confirmation != confirmation(drift.id, again, until):
        return Refuse("It is no longer what was confirmed.")
    if now < drift.removable_from(policy):
        return Refuse("Its grace is not over.")
    return Take(again)


# -- what a look can vouch for ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Looked:
    """How far a look reached. What it did not reach keeps its earlier findings."""

    provisioners: frozenset[str]
    compared: frozenset[ServerId]
    inside: Mapping[ServerId, frozenset[str]]
    """The servers that were looked into, each with the things nothing can be said of."""
    live: frozenset[ServerId]

    def vouches_for(self, finding: Finding) -> bool:
        """Whether this look would have found it again, were it still there."""
        if finding.kind in LISTED:
            return finding.provisioner in self.provisioners
        if finding.server_id not in self.live:
            return True
        if finding.kind is Kind.SERVER_DIFFERS:
            return finding.server_id in self.compared
        return finding.server_id in self.inside and finding.thing not in self.inside[finding.server_id]
