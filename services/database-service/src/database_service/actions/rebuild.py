"""Rebuild: rows out of the world. First what was found and what would be done, and then, when that is wanted, just that.

What differs is decided in `domain.recovery`; here the world is looked at, and rows are made. Nothing is ever deleted on a server.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

from database_service.deps import Deps
from database_service.domain.databases import Status
from database_service.domain.errors import InvalidField, SecretUnreadable, ServiceError, TenantServerUnavailable
from database_service.domain.ids import RECOVERY, DatabaseId, InstanceId, ServerId, Who
from database_service.domain.plans import PLANS, Tier
from database_service.domain.recovery import Adopt, Deed, Leave, Looked, Relogin, Turn, Wake, compare
from database_service.domain.register import Entry, Registered
from database_service.domain.secret import Secret
from database_service.domain.servers import Address, Found, Presence, Server
from database_service.domain.servers import Status as ServerStatus
from database_service.domain.tenancy import Admin
from database_service.reconcilers import servers as server_steps
from database_service.reconcilers import slotting
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.capacity import in_parallel
from database_service.reconcilers.leasing import said
from database_service.reconcilers.newborn import add_login
from database_service.store import databases, drift, events, logins, recovery, slots
from database_service.store.pool import Conn
from database_service.store.restoring import CORDON
from database_service.store.rows import bytes_of, identity_of

WHO = Who(RECOVERY)
NOT_YET = ServerId(UUID(int=0))
START_PATIENCE = timedelta(seconds=60)
LOOK_PATIENCE = timedelta(seconds=20)
ALIVE = (ServerStatus.PROVISIONING, ServerStatus.INITIALIZING, ServerStatus.ACTIVE, ServerStatus.ERROR)


@dataclass(frozen=True, slots=True)
class Key:
    """How to log in to a server whose password nothing here knows. `known_as` picks one of several installations."""

    address: Address
    user: str
    password: Secret
    known_as: ServerId | None = None

    @classmethod
    def parse(cls, line: str, ordinal: int) -> "Key":
        """From `postgresql://user:password@host:port[#server-id]`. InvalidField tells the line's number and not what is in it."""
        try:
            parts = urlsplit(line.strip())
            known_as = ServerId(UUID(parts.fragment)) if parts.fragment else None
            if parts.scheme not in ("postgres", "postgresql") or not (
                parts.hostname and parts.username and parts.password
            ):
                raise ValueError
            address = Address(parts.hostname, parts.port or 5432)
        except ValueError:
            raise InvalidField("logins", f"line {ordinal} is not postgresql://user:password@host:port") from None
        return cls(address, unquote(parts.username), Secret(unquote(parts.password)), known_as)

    def admin(self, server_id: ServerId = NOT_YET) -> Admin:
        return Admin(server_id, self.address.host, self.address.port, self.user, self.password)


def keys_in(text: str) -> list[Key]:
    """One from each line that is neither empty nor a comment."""
    lines = enumerate(text.splitlines(), start=1)
    return [Key.parse(line, n) for n, line in lines if line.strip() and not line.lstrip().startswith("#")]


@dataclass(frozen=True, slots=True)
class AddServer:
    """It gets its row back."""

    told: Mapping[str, Any]
    running: bool

    @property
    def name(self) -> str:
        return str(self.told["name"])

    @property
    def sentence(self) -> str:
        then = "" if self.running else "; it is started, and what is on it is told then"
        return f"server {self.name}, {self.told['server_type']}, {self.told['max_instances']} slots: it gets its row back{then}"


@dataclass(frozen=True, slots=True)
class LearnPassword:
    """The administrator's password was changed since its row was written."""

    server: Server
    sealed: bytes
    version: int

    @property
    def sentence(self) -> str:
        return f"server {self.server.name}: its administrator's password was changed since; the row gets the one it has"


ServerDeed = AddServer | LearnPassword


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, what was or would be done about it, and what is left alone and why."""

    servers: Sequence[ServerDeed]
    databases: Sequence[Deed]
    left: Sequence[Leave]

    def sentences(self) -> tuple[list[str], list[str]]:
        """What is done, and what is left alone."""
        done = [
            *(deed.sentence for deed in self.servers),
            *(d.told for d in self.databases if not isinstance(d, Leave)),
        ]
        return done, [*(leave.told for leave in self.left), *(d.told for d in self.databases if isinstance(d, Leave))]


async def look(deps: Deps, keys: Sequence[Key]) -> Report:
    """What would be done; changes nothing."""
    survey = await _survey(deps, keys)
    doors = {server.id: _door(server) for server in await _standing_rows(deps)} | survey.doors()
    looked, blind = await _look_into(deps, list(doors.values()))
    unseen = [replace(leave, why=f"{leave.why} {UNSEEN}") for leave in blind]
    return Report(survey.deeds, await _compared(deps, looked), [*survey.left, *unseen])


UNSEEN = "So nothing is known of what is on it; --apply starts it, where it can, and does what is to be done there too."


async def rebuild(deps: Deps, keys: Sequence[Key]) -> Report:
    """Do it: servers first, which are started where they stand still, then what is on them. May be repeated."""
    survey = await _survey(deps, keys)
    for server_deed in survey.deeds:
        await _do_server(deps, server_deed)
    await in_parallel(
        deps, await _standing_rows(deps), lambda server: server_steps.settle(deps, server.id, START_PATIENCE)
    )
    looked, blind = await _look_into(deps, [_door(server) for server in await _standing_rows(deps)])
    deeds = await _compared(deps, looked)
    for deed in deeds:
        await _do(deps, deed)
    await _reopen(deps, looked)
    return Report(survey.deeds, deeds, [*survey.left, *blind])


# -- servers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Door:
    """How a server would be entered."""

    server_id: ServerId
    name: str
    address: Address | None
    user: str
    sealed: bytes
    roots: str | None

    def admin(self, deps: Deps) -> Admin:
        """Raises SecretUnreadable, TenantServerUnavailable."""
        if self.address is None:
            raise TenantServerUnavailable("it has no address yet")
        password = deps.secrets.open(self.sealed, self.server_id)
        return Admin(self.server_id, self.address.host, self.address.port, self.user, password, self.roots)


def _door(server: Server) -> _Door:
    roots = server.tls.roots if server.tls else None
    return _Door(server.id, server.name, server.address, server.admin_user, server.admin_password_sealed, roots)


@dataclass(slots=True)
class _Survey:
    deeds: list[ServerDeed]
    left: list[Leave]

    def doors(self) -> dict[ServerId, _Door]:
        """As they would be when all this is done, of servers that run."""
        return {door.server_id: door for deed in self.deeds if (door := _door_after(deed))}


def _door_after(deed: ServerDeed) -> _Door | None:
    match deed:
        case AddServer(told, True):
            address = Address(told["host"], told["port"])
            sealed = bytes_of(told["admin_password_sealed"])
            return _Door(ServerId(UUID(told["id"])), told["name"], address, told["admin_user"], sealed, _roots(told))
        case LearnPassword(server, sealed, _):
            return replace(_door(server), sealed=sealed)
        case _:
            return None


def _roots(told: Mapping[str, Any]) -> str | None:
    """Who vouches for a server that was told of with its certificate."""
    if not told.get("certificate"):
        return None
    return identity_of({**told["certificate"], "authorities": told["authorities"]}).roots


async def _standing_rows(deps: Deps) -> list[Server]:
    async with deps.db.connection() as conn:
        return [server for server in (await drift.live_servers(conn)).values() if server.status in ALIVE]


async def _survey(deps: Deps, keys: Sequence[Key]) -> _Survey:
    async with deps.db.connection() as conn:
        live = await drift.live_servers(conn)
    survey = _Survey([], [])
    by_address = {key.address: key for key in keys}
    for provisioner in sorted(deps.provisioners):
        for found in await deps.provisioners[provisioner].list_ours():
            key = by_address.pop(found.address, None) if found.address else None
            await _about_found(deps, survey, found, live.get(found.id), key)
    for server in live.values():
        key = by_address.pop(server.address, None) if server.address else None
        if key:
            await _with_key(deps, survey, server, key)
    for key in by_address.values():
        await _about_key(deps, survey, key)
    return survey


async def _about_found(deps: Deps, survey: _Survey, found: Found, row: Server | None, key: Key | None) -> None:
    """One that a provisioner has."""
    if not found.labelled:
        return  # drift tells of it
    told = json.loads(found.remembered) if found.remembered else {}
    if row and told and told["admin_password_version"] > row.admin_password_version:
        survey.deeds.append(LearnPassword(row, bytes_of(told["admin_password_sealed"]), told["admin_password_version"]))
    elif row and key:
        await _with_key(deps, survey, row, key)
    elif row is None and told:
        survey.deeds.append(AddServer(_seen_at(told, found), found.presence is Presence.RUNNING))
    elif row is None and key:
        await _about_key(deps, survey, replace(key, known_as=found.id))
    elif row is None:
        survey.left.append(Leave(f"server {found.name}", UNREMEMBERED))


UNREMEMBERED = "nothing is remembered of it; give its administrator's login with --logins, or see `dbs drift ls`"


def _seen_at(told: Mapping[str, Any], found: Found) -> Mapping[str, Any]:
    return {**told, "host": found.address.host, "port": found.address.port} if found.address else told


async def _with_key(deps: Deps, survey: _Survey, row: Server, key: Key) -> None:
    """One that has a row, and whose login was given: it counts where the row's own does not let in."""
    if not await _lets_in(deps, admin_of(deps, row)) and await _lets_in(deps, key.admin(row.id)):
        survey.deeds.append(LearnPassword(row, deps.secrets.seal(key.password, row.id), row.admin_password_version + 1))


async def _lets_in(deps: Deps, admin: Admin) -> bool:
    try:
        return (await deps.tenants.probe(admin, LOOK_PATIENCE)).ok
    except SecretUnreadable:
        return False


async def _about_key(deps: Deps, survey: _Survey, key: Key) -> None:
    """One that nobody lists, but which keeps a register of its own."""
    where = f"server at {key.address.host}:{key.address.port}"
    try:
        registered = await deps.tenants.registered(key.admin())
    except TenantServerUnavailable as e:
        survey.left.append(Leave(where, said(e)))
        return
    known = [entry for entry in registered.servers() if key.known_as in (None, entry.id)]
    if len(known) == 1:
        survey.deeds.append(AddServer(_given(deps, known[0], key), running=True))
    elif known:
        ids = ", ".join(str(entry.id) for entry in known)
        survey.left.append(
            Leave(where, f"several installations know it: put one of these behind its address, after a #: {ids}")
        )
    else:
        survey.left.append(Leave(where, "it keeps no register; adopt it"))


def _given(deps: Deps, entry: Entry, key: Key) -> Mapping[str, Any]:
    sealed = deps.secrets.seal(key.password, entry.id)
    return {
        **entry.told,
        "host": key.address.host,
        "port": key.address.port,
        "admin_user": key.user,
        "admin_password_sealed": f"\\x{sealed.hex()}",
    }


async def _do_server(deps: Deps, deed: ServerDeed) -> None:
    now = deps.now()
    async with deps.db.transaction() as conn:
        match deed:
            case AddServer(told):
                if server := await recovery.add_server(conn, told, now):
                    await slotting.furnish(conn, deps, server)
                    await _note_server(conn, server, now, action="server.rebuilt")
            case LearnPassword(row, sealed, version):
                if server := await recovery.learn_password(conn, row.id, sealed, version, now):
                    why = f"version {version}"
                    await _note_server(conn, server, now, action="server.admin_password_rotated", why=why)


async def _reopen(deps: Deps, looked: Sequence[Looked]) -> None:
    """They were closed when they came out of a backup, until somebody had looked."""
    for at in looked:
        async with deps.db.transaction() as conn:
            if server := await recovery.uncordon(conn, at.server_id, CORDON, deps.now()):
                await _note_server(conn, server, deps.now(), action="server.uncordoned")


async def _note_server(conn: Conn, server: Server, now: datetime, *, action: str, why: str | None = None) -> None:
    await events.append(
        conn, at=now, who=WHO, action=action, subject="server", subject_id=server.id, instance_id=server.instance_id,
        after=server.status, why=why,
    )  # fmt: skip


# -- what is on them --------------------------------------------------------------------------------------------------


async def _look_into(deps: Deps, doors: Sequence[_Door]) -> tuple[list[Looked], list[Leave]]:
    looked: list[Looked] = []
    blind: list[Leave] = []

    async def one(door: _Door) -> None:
        try:
            registered = await _registered(deps, door)
        except (ServiceError, TimeoutError) as e:
            blind.append(Leave(f"server {door.name}", said(e)))
        else:
            looked.append(Looked(door.server_id, door.name, registered))

    await in_parallel(deps, doors, one)
    return sorted(looked, key=lambda at: at.name), sorted(blind, key=lambda leave: leave.what)


async def _registered(deps: Deps, door: _Door) -> Registered:
    async with asyncio.timeout(LOOK_PATIENCE.total_seconds()):
        return await deps.tenants.registered(door.admin(deps))


async def _compared(deps: Deps, looked: Sequence[Looked]) -> list[Deed]:
    async with deps.db.connection() as conn:
        return compare(looked, await recovery.known(conn))


async def _do(deps: Deps, deed: Deed) -> None:
    async with deps.db.transaction() as conn:
        match deed:
            case Adopt():
                await _adopt(conn, deps, deed)
            case Relogin(place, row):
                await _new_login(conn, deps, DatabaseId(row.id), place.standing.logins)
                await databases.look_now(conn, DatabaseId(row.id), deps.now())
                await _note(conn, deps, row.id, row.instance_id, "rotated", row.status)
            case Turn():
                await _turn(conn, deps, deed)
            case Wake(row):
                await recovery.wake(conn, row, deps.now())
            case Leave():
                pass


async def _adopt(conn: Conn, deps: Deps, deed: Adopt) -> None:
    entry, database_id, server_id = deed.entry, DatabaseId(deed.entry.id), deed.place.at.server_id
    if instance_id := entry.told["instance_id"]:
        await recovery.forget_waiting(conn, InstanceId(instance_id))
    await recovery.make_way(conn, database_id, server_id, entry.owner_role, deps.now())
    rank = await _seat(conn, deps, database_id, server_id)
    await recovery.adopt(conn, _row_of(deps, deed, rank))
    if not entry.is_twin:
        await _new_login(conn, deps, database_id, deed.place.standing.logins)
    await _note(conn, deps, entry.id, instance_id, "rebuilt", deed.status)


def _row_of(deps: Deps, deed: Adopt, rank: int) -> Mapping[str, Any]:
    now, told = deps.now(), deed.entry.told
    more = {
        "status": deed.status,
        "server_id": str(deed.place.at.server_id),
        "rank": rank,
        "physical_name": deed.place.standing.name,
        "status_since": now.isoformat(),
        "due_at": now.isoformat(),
        "version": max(deed.entry.version, deed.before.version if deed.before else 0) + 1,
    }
    if deed.status is Status.CREATING:
        return {**told, **more, "released_at": None, "purge_after": None}
    released_at = told["released_at"] or now.isoformat()
    return {**told, **more, "released_at": released_at, "purge_after": _kept_until(deed.entry, now).isoformat()}


def _kept_until(entry: Entry, now: datetime) -> datetime:
    """As long as was said; what is somebody's own, for its plan's days from now at least: its time may have run out unseen."""
    said_before = datetime.fromisoformat(entry.told["purge_after"]) if entry.told["purge_after"] else now
    grace = PLANS[Tier(entry.told["plan_tier"])].grace
    return said_before if entry.is_twin else max(said_before, now + grace)


async def _seat(conn: Conn, deps: Deps, database_id: DatabaseId, server_id: ServerId) -> int:
    """The rank of a slot there: the one it has, a free one, or one more than was thought."""
    if (rank := await recovery.rank(conn, database_id, server_id)) is not None:
        return rank
    await slots.free(conn, database_id)
    if seat := await slots.reserve_on(conn, database_id, server_id):
        return seat.rank
    server = await recovery.widen(conn, server_id)
    if server is None:
        raise LookupError(f"server {server_id} has no row")
    await slotting.furnish(conn, deps, server)
    return await _seat(conn, deps, database_id, server_id)


async def _new_login(conn: Conn, deps: Deps, database_id: DatabaseId, there: frozenset[str]) -> None:
    """Logins that were ended stay so. Where one has to be made, those that work go on for an overlap, and strays until removed."""
    await recovery.drop_absent_logins(conn, database_id, there)
    known = {login.role for login in await logins.alive(conn, database_id)}
    if not known or there - known:
        await add_login(conn, deps, database_id, overlap=deps.policy.rotation_overlap)


async def _turn(conn: Conn, deps: Deps, deed: Turn) -> None:
    """Its door says something else than its row, and is believed."""
    row, now = deed.row, deps.now()
    database = await databases.get(conn, DatabaseId(row.id))
    if database is None:
        return
    grace = PLANS[database.plan_tier].grace
    if await recovery.turn(conn, row, deed.status, now, now + grace if deed.status is Status.RELEASED else None):
        if deed.status is Status.CREATING:
            await _new_login(conn, deps, database.id, deed.place.standing.logins)
        await _note(conn, deps, row.id, row.instance_id, "rebuilt", deed.status)


async def _note(conn: Conn, deps: Deps, row_id: UUID, instance_id: str | None, action: str, after: Status) -> None:
    await events.append(
        conn, at=deps.now(), who=WHO, action=f"database.{action}", subject="database", subject_id=row_id,
        instance_id=instance_id, after=after,
    )  # fmt: skip
