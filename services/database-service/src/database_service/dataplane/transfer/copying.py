"""The copy: roles, an empty database, extensions, then everything a dump has, and at last what no dump has."""

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from database_service.dataplane import databases, ddl, roles
from database_service.dataplane.connect import AdminSessions, Session
from database_service.dataplane.ddl import Script
from database_service.dataplane.dropping import drop_databases
from database_service.dataplane.transfer import belongings, movers, surveying
from database_service.dataplane.transfer.programs import Programs, Reach, write_passfile
from database_service.dataplane.transfer.surveying import FIRST_OURS, Extension, roles_of
from database_service.domain import naming
from database_service.domain.errors import MoveBlocked, NameTaken, TenantServerUnavailable
from database_service.domain.transfers import Passage, Progress

PUBLIC = "public"
TELL_EVERY_S = 1.0
ALMOST = 0.99
"""Sizes only tell about how far it is; that it is done, the next phase tells."""

_EXTENSION_ENTRY = re.compile(r"\d+; (?:3079 \d+ EXTENSION|0 0 COMMENT - EXTENSION) ")
"""In a table of contents; 3079 is the catalog of extensions. We make them ourselves: many need a superuser."""
_CATALOG_ENTRY = re.compile(r"\d+; 0 0 ACL pg_catalog ")
"""What the mover was shown for the dump. No tenant can grant what is PostgreSQL's own."""
_SCHEMA_ENTRY = re.compile(r"\d+; 2615 (\d+) SCHEMA ")

_FOUND = f"""
SELECT to_regnamespace('public') IS NOT NULL AS has_public, pg_database_size(current_database()) AS size_bytes,
       coalesce((SELECT sum(pg_table_size(oid)) FROM pg_class WHERE relkind IN ('r', 'm') AND oid >= {FIRST_OURS}), 0)::int8
       AS data_bytes
"""
_TRUSTED = "SELECT name::text AS name FROM pg_available_extension_versions WHERE trusted"


@dataclass(frozen=True, slots=True)
class Found:
    """What the source says before it is dumped."""

    name: str
    extensions: Sequence[Extension]
    has_public: bool
    size_bytes: int
    """Of the whole database."""
    data_bytes: int
    """Of its tables without their indexes: about as much as a dump has."""


@dataclass(frozen=True, slots=True)
class Copying:
    """One copy. `verifiers` are those of the tenant's logins."""

    sessions: AdminSessions
    programs: Programs
    passage: Passage
    verifiers: Mapping[str, str]
    folder: Path
    compression: str
    told: Callable[[Progress], None]

    async def carry(self, found: Found) -> None:
        """Into the room that was made; the mover is admitted on both servers."""
        passfile = write_passfile(self.folder, self.passage.mover)
        try:
            async with self._watched("dumping", self._dumped, found.data_bytes):
                await self._dump_all(self._source(found, passfile))
            async with self._watched("restoring", self._restored, found.size_bytes):
                await self._restore(found, passfile)
        finally:
            passfile.unlink()
            shutil.rmtree(self._dump, ignore_errors=True)
        self.told(Progress("settling"))
        await movers.analyze(self.passage.target, self.passage.mover, self.passage.staging, self.programs.on_statement)
        await self._settle(found)

    # -- before the dump ----------------------------------------------------------------------------------------------

    async def make_room(self, found: Found) -> None:
        """On the target: the roles, shut, and an empty database."""
        passage = self.passage
        self.told(Progress("preparing"))
        async with self.sessions.on(passage.target) as session:
            for name in (*passage.stale, passage.staging):
                await _drop(session, passage, name)
            await session.run(*await self._roles(session))
        await lay(self.sessions, passage, passage.staging, found)

    async def _roles(self, session: Session) -> Sequence[Script]:
        """One transaction: no login is ever open."""
        tenant = self.passage.tenant
        standing = await databases.look(session, tenant)
        standing.refuse_foreign_roles(tenant, *self.verifiers)
        if standing.ours or standing.half_dropped or standing.foreign:
            raise NameTaken(f"A database {tenant.name!r} is on the target already; drop it before it is copied again.")
        owner = () if standing.owner_there else (ddl.create_owner(tenant.owner_role),)
        logins = (
            ddl.joined((roles.login(standing.logins, tenant, role, verifier), ddl.close_login(role)))
            for role, verifier in self.verifiers.items()
        )
        return (ddl.joined((*owner, *logins)),)

    # -- dump and restore ---------------------------------------------------------------------------------------------

    @property
    def _dump(self) -> Path:
        return self.folder / "dump"

    def _source(self, found: Found, passfile: Path) -> Reach:
        return Reach(self.passage.source, found.name, self.passage.mover, passfile)

    async def _dump_all(self, reach: Reach) -> None:
        async with dumpable(self.sessions, reach):
            await self.programs.dump(reach, self._dump, self.compression)

    async def _restore(self, found: Found, passfile: Path) -> None:
        reach = Reach(self.passage.target, self.passage.staging, self.passage.mover, passfile)
        await restore(self.programs, reach, self._dump, found)

    # -- how far it is ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _watched(self, phase: str, done: Callable[[], Awaitable[int]], all_bytes: int) -> AsyncIterator[None]:
        """Tells about how far the phase is, now and then, for as long as this is open."""
        self.told(Progress(phase))
        watching = asyncio.create_task(self._watch(phase, done, all_bytes))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _watch(self, phase: str, done: Callable[[], Awaitable[int]], all_bytes: int) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)  # noqa: TID251  neither program says how far it is
            with contextlib.suppress(TenantServerUnavailable):
                self.told(Progress(phase, min(await done() / max(all_bytes, 1), ALMOST)))

    async def _dumped(self) -> int:
        return await asyncio.to_thread(_bytes_in, self._dump)

    async def _restored(self) -> int:
        async with self.sessions.on(self.passage.target) as session:
            return (await databases.sizes(session, [self.passage.staging])).get(self.passage.staging, 0)

    # -- after it -----------------------------------------------------------------------------------------------------

    async def _settle(self, found: Found) -> None:
        passage = self.passage
        names = roles_of(passage.tenant)
        async with self.sessions.on(passage.source) as session:
            there = await belongings.read(session, found.name, names)
        async with self.sessions.on(passage.target) as session:
            here = await belongings.read(session, passage.staging, names)
            await session.run(*belongings.scripts(there, here, passage.staging), ddl.unlimit_database(passage.staging))


async def found_in(inside: Session, name: str) -> Found:
    return Found(name, await surveying.extensions(inside), **await inside.row(_FOUND))


async def look(sessions: AdminSessions, passage: Passage) -> Found:
    """What there is to copy. MoveBlocked where it cannot be."""
    async with sessions.on(passage.source) as outside:
        name = (await databases.look(outside, passage.tenant)).require_database(passage.tenant)
        async with sessions.inside(passage.source, name) as inside:
            found = await found_in(inside, name)
            if blockers := await surveying.obstacles(outside, inside, passage.tenant, name, found.extensions):
                raise MoveBlocked(blockers)
            return found


@asynccontextmanager
async def dumpable(sessions: AdminSessions, reach: Reach) -> AsyncIterator[None]:
    """For as long as this is open: pg_dump reads the settings of databases when it writes an archive.

    They are everybody's, so only while no function of a tenant's runs as the mover on this server.
    """
    async with sessions.inside(reach.admin, reach.database) as inside:
        await inside.run(ddl.show_settings(reach.mover.role))
    try:
        yield
    finally:
        async with sessions.inside(reach.admin, reach.database) as inside:
            await inside.run(ddl.hide_settings(reach.mover.role))


async def lay(sessions: AdminSessions, passage: Passage, name: str, found: Found) -> None:
    """An empty database of the tenant's on the target, with the extensions that were found; only a mover can enter it."""
    owner = passage.tenant.owner_role
    template = naming.template_database(surveying.COPIED_FROM)
    async with sessions.on(passage.target) as session:
        await session.run(
            ddl.create_database(name, owner, template, ddl.Strategy.WAL_LOG),
            ddl.open_database(name, owner, passage.tenant.limits),
            ddl.unlimit_database(name),
        )
        trusted = {row["name"] for row in await session.rows(_TRUSTED)}
    async with sessions.inside(passage.target, name) as inside:
        await inside.run(*_foundations(found, trusted, roles_of(passage.tenant)))


async def restore(programs: Programs, reach: Reach, dump: Path, found: Found) -> None:
    """All of the dump but what was laid already."""
    contents = dump / "contents"
    made = {each.schema_oid for each in found.extensions}
    contents.write_text("\n".join(_without_what_we_made(await programs.contents(dump), made)))
    await programs.restore(reach, dump, contents)


def _bytes_in(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.glob("*"))


async def _drop(session: Session, passage: Passage, name: str) -> None:
    """A staging of this tenant's; NameTaken where it is somebody else's. One that is not there is dropped already."""
    standing = await databases.look(session, replace(passage.tenant, name=name, physical_name=name))
    standing.refuse_foreign_databases()
    await drop_databases(session, standing.ours | standing.half_dropped)


def _foundations(found: Found, trusted: set[str], tenant_roles: Sequence[str]) -> Iterator[Script]:
    """Extensions, and the schemas they are in, before there is anything of the tenant's that could interfere."""
    if not found.has_public:
        yield ddl.drop_public()
    for each in found.extensions:
        if each.schema != PUBLIC and each.schema_owner in tenant_roles:
            yield ddl.create_schema(each.schema, each.schema_owner)
        made = ddl.create_extension(each.name, each.schema)
        # Who made a trusted one may also drop it.
        by_tenant = each.owner in tenant_roles and each.name in trusted
        yield ddl.as_role(each.owner, made) if by_tenant else made


def _without_what_we_made(contents: Sequence[str], schemas: set[int]) -> Iterator[str]:
    for line in contents:
        schema = _SCHEMA_ENTRY.match(line)
        if not (_EXTENSION_ENTRY.match(line) or _CATALOG_ENTRY.match(line)) and not (
            schema and int(schema[1]) in schemas
        ):
            yield line
