"""Claims: who asks for a spare while another is asking shares one round trip and one commit with all who do."""

import asyncio
from dataclasses import dataclass, field

from database_service.store import databases
from database_service.store.databases import Claim, Seated, Tangled
from database_service.store.pool import Db

MOST_TOGETHER = 32
"""So many hold their commit up by about as much as it takes itself."""
PATIENCE_S = 0.1
"""Who has not got through the door by then goes around it. A claim takes about a millisecond."""


@dataclass(slots=True)
class _Trip:
    """Claims that are made in one transaction; `seats` has their answers, in their order."""

    claims: list[Claim] = field(default_factory=list)
    seats: "asyncio.Task[list[Seated | None]] | None" = None


class Claims:
    """One transaction of claims at a time leaves this process. Who comes to an open door goes at once and alone; those
    who come while it is shut go together next.

    That is a short cut and no more: whoever does not get through quickly, or shares a transaction that met another one,
    goes alone, so nobody waits for long or is refused because of somebody else.
    """

    def __init__(self) -> None:
        self._door = asyncio.Lock()
        self._boarding = _Trip()

    async def claim(self, db: Db, claim: Claim) -> Seated | None:
        """As `databases.claim_spare`. Raises ControlDatabaseUnavailable, RACED."""
        if not self._door.locked():
            async with self._door:
                return await _alone(db, claim)
        try:
            return await self._together(db, claim)
        except Tangled:
            return await _alone(db, claim)

    async def _together(self, db: Db, claim: Claim) -> Seated | None:
        trip = self._boarding
        place = len(trip.claims)
        trip.claims.append(claim)
        if trip.seats is None:
            trip.seats = asyncio.create_task(self._travel(db, trip))
        if len(trip.claims) == MOST_TOGETHER:
            self._boarding = _Trip()
        seats = await asyncio.shield(trip.seats)  # a caller who leaves does not take the others along
        return seats[place]

    async def _travel(self, db: Db, trip: _Trip) -> list[Seated | None]:
        try:
            await asyncio.wait_for(self._door.acquire(), PATIENCE_S)
        except TimeoutError as e:
            raise Tangled from e
        finally:
            if self._boarding is trip:
                self._boarding = _Trip()
        try:
            async with db.connection() as conn:
                return await databases.claim_spares(conn, trip.claims)
        finally:
            self._door.release()


async def _alone(db: Db, claim: Claim) -> Seated | None:
    async with db.connection() as conn:
        return await databases.claim_spare(conn, claim)
