"""Rows out of the world: what servers keep and hold is compared with the rows there are, and what should become of those.

Two rules. Of two accounts of one database the one with the higher version counts. And where it cannot be told for certain whose
a database is, or which of two copies is the one in use, nothing is done: it is told, and left alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from database_service.domain.databases import Status
from database_service.domain.ids import ServerId
from database_service.domain.register import Entry, Kind, Registered, Standing


@dataclass(frozen=True, slots=True)
class Looked:
    """A server that was looked into."""

    server_id: ServerId
    name: str
    registered: Registered

    def entries_of(self, owner: str) -> Sequence[Entry]:
        """What it keeps of the databases this role owns, the newest last."""
        ours = (e for e in self.registered.entries if e.kind is Kind.DATABASE and e.server_id == self.server_id)
        return sorted((e for e in ours if e.owner_role == owner), key=lambda entry: entry.version)


@dataclass(frozen=True, slots=True)
class Known:
    """A database as a row tells it."""

    id: UUID
    status: Status
    instance_id: str | None
    server_id: ServerId | None
    name: str
    owner_role: str
    version: int
    held: bool
    """It waits until somebody has looked: nothing of it is due."""
    twin: bool
    logins: frozenset[str]
    """Those that should be there."""


@dataclass(frozen=True, slots=True)
class Place:
    """A database as it was found: where, and how it stands there."""

    at: Looked
    standing: Standing

    @property
    def said(self) -> str:
        return f"database {self.standing.name} on {self.at.name}"


# -- what is to be done -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Adopt:
    """Its row is made, or made anew, from what its server keeps; `status` is what it becomes."""

    place: Place
    entry: Entry
    status: Status
    before: Known | None

    @property
    def told(self) -> str:
        return f"{self.place.said}, of {_whose(self.entry)}: {_BECOMES[self.status]}"


@dataclass(frozen=True, slots=True)
class Relogin:
    """The logins on its server are not those of its row: what was ended stays so, and beside one that no row knows it gets a
    new one."""

    place: Place
    row: Known

    @property
    def told(self) -> str:
        return f"{self.place.said}, of {self.row.instance_id}: its logins were changed since, and its row follows"


@dataclass(frozen=True, slots=True)
class Turn:
    """Its row is right but for its door: `status` is what it becomes."""

    place: Place
    row: Known
    status: Status

    @property
    def told(self) -> str:
        return f"{self.place.said}, of {self.row.instance_id}: {_BECOMES[self.status]}"


@dataclass(frozen=True, slots=True)
class Wake:
    """The world agrees with its row, which goes on from where it was held."""

    row: Known

    @property
    def told(self) -> str:
        return f"database {self.row.name}: it is as its row says, {self.row.status}, and goes on from there"


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing is done about it."""

    what: str
    why: str

    @property
    def told(self) -> str:
        return f"{self.what}: {self.why}"


Deed = Adopt | Relogin | Turn | Wake | Leave

_BECOMES = {
    Status.CREATING: "in use, with a login that works",
    Status.RELEASED: "released; its door stays shut and its data is kept",
}

NOBODYS = (
    "nothing tells whose it is: a spare, or one that was claimed right before the loss. `dbs drift ls` will show it"
)
TWO_PLACES = (
    "it is on two servers, as it was being moved, and nothing tells which one counts: find out, and drop the other"
)
ELSEWHERE = "its row has it on another server, and nothing says that it moved"
OLDER = "it is an older copy of a database that is on another server by now; drop it when nobody misses it"
NOT_THERE = "it is not on its server; restore it, or release it"


def _whose(entry: Entry) -> str:
    if entry.is_twin:
        return "a database that moved away"
    return f"{entry.told['instance_id']} (customer {entry.told['customer_id']}, plan {entry.told['plan_tier']})"


# -- comparing --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Scene:
    """What is known of the databases that one role owns."""

    owner: str
    places: list[Place] = field(default_factory=list)
    row: Known | None = None
    twins: dict[ServerId, Known] = field(default_factory=dict)

    @property
    def newest(self) -> tuple[Place, Entry] | None:
        """Where it is according to the account that counts among those of servers that have it."""
        told = [(p, e) for p in self.places for e in p.at.entries_of(self.owner)[-1:] if not e.is_twin]
        return max(told, key=lambda pair: pair[1].version, default=None)

    def older_copies(self, at: ServerId) -> Iterator[Deed]:
        for place in self.places:
            told = place.at.entries_of(self.owner)[-1:]
            if place.at.server_id not in (at, *self.twins) and told and not told[0].is_twin:
                yield Leave(place.said, OLDER)

    def unexplained(self, at: ServerId) -> bool:
        """Whether another server has one too, of which neither an entry nor a row says what it is."""
        explained = {at, *self.twins, self.row.server_id if self.row else at}
        return any(place.at.server_id not in explained and not place.at.entries_of(self.owner) for place in self.places)


def compare(looked: Sequence[Looked], rows: Sequence[Known]) -> list[Deed]:
    """What is to be done about every database that is on these servers, or should be. `rows` are all but purged ones."""
    scenes = _scenes(looked, rows)
    taken = {row.instance_id: row for row in rows if row.instance_id}
    deeds = [deed for owner in sorted(scenes) for deed in _about(scenes[owner], taken)]
    return [*deeds, *_left_behind(looked, scenes, deeds), *_missing(looked, scenes)]


def _scenes(looked: Sequence[Looked], rows: Sequence[Known]) -> Mapping[str, _Scene]:
    scenes: dict[str, _Scene] = {}
    for row in rows:
        scene = scenes.setdefault(row.owner_role, _Scene(row.owner_role))
        if not row.twin:
            scene.row = row
        elif row.server_id:
            scene.twins[row.server_id] = row
    for at in looked:
        for standing in at.registered.databases:
            scenes.setdefault(standing.owner, _Scene(standing.owner)).places.append(Place(at, standing))
    return scenes


def _about(scene: _Scene, taken: Mapping[str, Known]) -> Iterator[Deed]:
    newest = scene.newest
    if newest and (scene.row is None or newest[1].version > scene.row.version):
        yield _adopt(scene, *newest, taken)
        yield from scene.older_copies(newest[0].at.server_id)
    elif scene.row:
        yield from _as_its_row_says(scene, scene.row)
    elif not scene.twins:
        yield from (Leave(p.said, NOBODYS) for p in scene.places if not p.at.entries_of(scene.owner))


def _adopt(scene: _Scene, place: Place, entry: Entry, taken: Mapping[str, Known]) -> Deed:
    if scene.unexplained(place.at.server_id):
        return Leave(place.said, TWO_PLACES)
    other = taken.get(str(entry.told["instance_id"]))
    if other and other.id != entry.id and other.status is not Status.WAITING:
        return Leave(place.said, f"it is of {other.instance_id}, which has the database {other.name} by now")
    told = Status(entry.told["status"])
    shut = not place.standing.open and told is not Status.MOVING
    return Adopt(place, entry, Status.RELEASED if shut else Status.CREATING, other or scene.row)


def _as_its_row_says(scene: _Scene, row: Known) -> Iterator[Deed]:
    here = next((place for place in scene.places if place.at.server_id == row.server_id), None)
    if here is None:
        yield from (Leave(place.said, ELSEWHERE) for place in scene.places)
    elif scene.unexplained(here.at.server_id):
        yield Leave(here.said, TWO_PLACES)
    else:
        yield from _at_its_place(here, row)
        yield from scene.older_copies(here.at.server_id)


def _at_its_place(here: Place, row: Known) -> Iterator[Deed]:
    standing = here.standing
    match row.status:
        case Status.MOVING if row.held:
            yield Turn(here, row, Status.CREATING)
        case Status.RELEASED if standing.open:
            yield Turn(here, row, Status.CREATING)
        case Status.RELEASED if row.held:
            yield Wake(row)
        case Status.READY if not standing.open and standing.logins:
            yield Turn(here, row, Status.RELEASED)
        case Status.READY if standing.logins != row.logins:
            yield Relogin(here, row)


def _left_behind(looked: Sequence[Looked], scenes: Mapping[str, _Scene], deeds: Sequence[Deed]) -> Iterator[Deed]:
    """What databases left where they were: kept as long as was said, if the database itself is known to be elsewhere."""
    homes = {s.row.id: s.row.server_id for s in scenes.values() if s.row}
    homes |= {deed.entry.id: deed.place.at.server_id for deed in deeds if isinstance(deed, Adopt)}
    seen = {at.server_id for at in looked}
    for scene in scenes.values():
        told = {place.at.server_id: deed for place in scene.places if (deed := _kept(scene, place, homes))}
        yield from told.values()
        adopted = {deed.entry.id for deed in told.values() if isinstance(deed, Adopt)}
        home = homes.get(scene.row.id) if scene.row else None
        for at, twin in scene.twins.items():
            if twin.held and at in seen and at != home and twin.id not in adopted:
                yield Wake(twin)


def _kept(scene: _Scene, place: Place, homes: Mapping[UUID, ServerId | None]) -> Deed | None:
    newest = place.at.entries_of(scene.owner)[-1:]
    if not newest or not newest[0].is_twin or place.at.server_id in scene.twins:
        return None
    home = homes.get(UUID(str(newest[0].told["twin_of"])))
    if home is None:
        return Leave(place.said, TWO_PLACES)
    return Adopt(place, newest[0], Status.RELEASED, None) if home != place.at.server_id else None


def _missing(looked: Sequence[Looked], scenes: Mapping[str, _Scene]) -> Iterator[Deed]:
    seen = {at.server_id: at.name for at in looked}
    for scene in scenes.values():
        row = scene.row
        if row is None or row.server_id not in seen or scene.places:
            continue
        if row.status is Status.RELEASED and row.held:
            yield Wake(row)
        elif row.status in (Status.READY, Status.MOVING):
            yield Leave(f"database {row.name} of {row.instance_id} on {seen[row.server_id]}", NOT_THERE)
