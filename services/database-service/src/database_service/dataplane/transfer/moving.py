"""TenantTransfers: the one implementation of the port `Transfers`, on real servers, through asyncpg and PostgreSQL's programs."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from database_service.dataplane import databases, roles, stopping
from database_service.dataplane.connect import AdminSessions, OnStatement, Patience, unwatched
from database_service.dataplane.dropping import drop_databases
from database_service.dataplane.transfer import copying, fencing, movers, surveying
from database_service.dataplane.transfer.comparing import Comparing, Side
from database_service.dataplane.transfer.copying import Copying
from database_service.dataplane.transfer.programs import Programs, write_passfile
from database_service.dataplane.transfer.surveying import roles_of
from database_service.domain.errors import MoveBlocked, ServiceError, TenantServerUnavailable, TransferFailed
from database_service.domain.tenancy import Admin, TenantSpec
from database_service.domain.transfers import Passage, Progress, Survey

WIDTH = 2
JOBS = 4
NO_COMPRESSION = "none"


class TenantTransfers:
    """Implements Transfers. Use it with `async with`, or call `aclose()` at the end.

    `bin_dir` has pg_dump and pg_restore; each uses up to `jobs` connections and one more. `compression` is what pg_dump takes
    after --compress. `on_statement` is called around every effect, also around the programs, with their names.
    """

    def __init__(
        self,
        bin_dir: Path,
        jobs: int = JOBS,
        compression: str = NO_COMPRESSION,
        patience: Patience | None = None,
        on_statement: OnStatement = unwatched,
    ) -> None:
        self._programs = Programs(bin_dir, jobs, on_statement)
        self._compression = compression
        self._sessions = AdminSessions(WIDTH, patience or Patience(), on_statement)
        self._unhurried = AdminSessions(WIDTH, movers.PATIENCE, on_statement)

    async def __aenter__(self) -> "TenantTransfers":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._sessions.aclose()
        await self._unhurried.aclose()

    async def survey(self, source: Admin, tenant: TenantSpec, target: Admin | None) -> Survey:
        tools = await self._programs.major()
        return await surveying.survey(self._sessions, source, tenant, target, tools)

    async def fence(self, source: Admin, tenant: TenantSpec, drain: timedelta) -> None:
        async with self._sessions.on(source) as session:
            name = await fencing.fence(session, tenant, drain)
        # Nobody can write any more, so what would stop writes is not needed, and must not be copied or compared.
        await stopping.lift(self._sessions, source, name)

    async def copy(self, passage: Passage, folder: Path, told: Callable[[Progress], None]) -> None:
        found = await copying.look(self._sessions, passage)
        verifiers = await roles.verifiers(passage.tenant.logins)
        copy = Copying(self._sessions, self._programs, passage, verifiers, folder, self._compression, told)
        async with self._silent_if_it_fails(passage):
            await self._admit(passage.source, passage, found.name)
            await self._show(passage.source, passage, found.name)
            await copy.make_room(found)
            await self._admit(passage.target, passage, passage.staging)
            with _own_files():
                await copy.carry(found)

    async def compare(self, passage: Passage) -> Sequence[str]:
        here = replace(passage.tenant, name=passage.staging, physical_name=passage.staging)
        source = Side(passage.source, await self._name_of(passage.source, passage.tenant))
        target = Side(passage.target, await self._name_of(passage.target, here))
        async with self._silent_if_it_fails(passage):
            for side in (source, target):
                await self._admit(side.admin, passage, side.database)
                await self._show(side.admin, passage, side.database)
            with _own_files(), tempfile.TemporaryDirectory(prefix="database-service-") as folder:
                passfile = write_passfile(Path(folder), passage.mover)
                readmit = partial(self._admit, passage.target, passage, target.database)
                comparing = Comparing(self._unhurried, self._programs, passage, source, target, passfile, readmit)
                return await comparing.run()

    async def discard(self, target: Admin, tenant: TenantSpec, stagings: Sequence[str]) -> None:
        async with self._sessions.on(target) as session:
            for staging in stagings:
                there = await databases.look(session, replace(tenant, name=staging, physical_name=staging))
                await drop_databases(session, there.ours | there.half_dropped)

    async def dismiss(self, admin: Admin, mover: str) -> None:
        await movers.dismiss(self._sessions, admin, mover)

    async def _name_of(self, admin: Admin, tenant: TenantSpec) -> str:
        async with self._sessions.on(admin) as session:
            return (await databases.look(session, tenant)).require_database(tenant)

    async def _admit(self, admin: Admin, passage: Passage, database: str) -> None:
        """The mover may enter this database, as nobody else may."""
        verifier = (await roles.verifiers((passage.mover,)))[passage.mover.role]
        async with self._sessions.on(admin) as session:
            if inside := await fencing.others(session, database, ()):
                raise MoveBlocked(inside)
            await movers.admit(session, passage.mover.role, verifier, database, roles_of(passage.tenant))

    async def _show(self, admin: Admin, passage: Passage, database: str) -> None:
        """Not before a restore: only what is there can be shown."""
        async with self._unhurried.inside(admin, database) as inside:
            await movers.show(inside, passage.mover.role)

    @asynccontextmanager
    async def _silent_if_it_fails(self, passage: Passage) -> AsyncIterator[None]:
        """A program that is killed leaves its statements running on the server: those end too."""
        try:
            yield
        except (ServiceError, asyncio.CancelledError):
            for admin in (passage.source, passage.target):
                with contextlib.suppress(TenantServerUnavailable):
                    await self._silence(admin, passage.mover.role)
            raise

    async def _silence(self, admin: Admin, mover: str) -> None:
        async with self._sessions.on(admin) as session:
            await movers.silence(session, mover)


@contextmanager
def _own_files() -> Iterator[None]:
    """A full or missing disk of ours is no reason to stop trying."""
    try:
        yield
    except OSError as e:
        raise TransferFailed(f"The files of the move cannot be written here: {e.strerror or type(e).__name__}.") from e
