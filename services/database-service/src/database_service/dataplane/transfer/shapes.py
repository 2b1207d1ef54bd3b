"""Definitions made again: what PostgreSQL writes of one that was restored may be other words for the same.

`varchar_column IN ('a', 'b')` is shown with a cast of the whole array until it is restored, and with a cast of each element
from then on. So words are compared that went the same way.
"""

from dataclasses import dataclass
from pathlib import Path

from database_service.dataplane.connect import AdminSessions
from database_service.dataplane.transfer import copying, movers
from database_service.dataplane.transfer.programs import Programs, Reach
from database_service.domain import naming
from database_service.domain.transfers import Passage


@dataclass(frozen=True, slots=True)
class Shapes:
    """One at a time, in a database on the target that is there for as long as it takes."""

    sessions: AdminSessions
    programs: Programs
    passage: Passage
    passfile: Path

    async def again(self, reach: Reach, dump: Path) -> str:
        """The definitions of the database that is reached, as they read where they were restored. `dump` is not there yet."""
        async with self.sessions.inside(reach.admin, reach.database) as inside:
            found = await copying.found_in(inside, reach.database)
        async with copying.dumpable(self.sessions, reach):
            await self.programs.dump_definitions(reach, dump)
        shape = Reach(self.passage.target, naming.shape_database(self.passage.mover.role), reach.mover, self.passfile)
        await self.drop()
        try:
            await copying.lay(self.sessions, self.passage, shape.database, found)
            await copying.restore(self.programs, shape, dump, found)
            return await self.programs.schema(shape)
        finally:
            await self.drop()

    async def drop(self) -> None:
        async with self.sessions.on(self.passage.target) as session:
            await movers.drop_shape(session, self.passage.mover.role)
