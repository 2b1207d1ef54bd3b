"""Many who ask for a spare at once: together where that is quicker, and never one at the expense of another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from database_service.domain.errors import ControlDatabaseUnavailable
from database_service.domain.ids import InstanceId
from database_service.store import claims as module
from database_service.store import databases
from database_service.store.claims import MOST_TOGETHER, Claims
from database_service.store.databases import Claim, Seated
from database_service.store.pool import Conn, Db
from store.conftest import Two
from support.house import WHO, House, ask


@dataclass
class Watched:
    """The house's database, which counts how often it is asked, and has the first wait until `held` is set."""

    db: Db
    asked: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Conn]:
        self.asked += 1
        first = self.asked == 1
        async with self.db.connection() as conn:
            if first:
                await self.held.wait()
            yield conn


@pytest.fixture
def watched(house: House) -> Watched:
    return Watched(house.deps.db)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 20.0)


async def ask_all(house: House, db: Watched, claims: Claims, *instances: str) -> list["asyncio.Task[Seated | None]"]:
    """All have asked: the first is on its way, and the others stand at the door."""
    tasks = [asyncio.create_task(claims.claim(db, claim(house, name))) for name in instances]  # type: ignore[arg-type]
    while not db.asked:  # noqa: ASYNC110  each turn of the loop lets every task go as far as it can
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


def claim(house: House, instance: str) -> Claim:
    return Claim(ask(InstanceId(instance)), WHO, house.clock())


async def seats(house: House) -> dict[str, str]:
    async with house.deps.db.connection() as conn:
        rows = await conn.fetch("SELECT instance_id, name FROM databases WHERE instance_id IS NOT NULL")
    return {row["instance_id"]: row["name"] for row in rows}


@pytest.mark.usefixtures("patient")
async def test_those_who_come_while_one_is_under_way_share_one_transaction(house: House, watched: Watched) -> None:
    await house.pool()
    await house.spares(6)
    asked = await ask_all(house, watched, Claims(), *"abcdef")
    watched.held.set()
    found = await asyncio.gather(*asked)
    assert {name: seat.database.name for name, seat in zip("abcdef", found, strict=True) if seat} == await seats(house)
    assert len(set((await seats(house)).values())) == 6
    assert watched.asked == 2
    assert await house.value("SELECT count(DISTINCT xmin::text) FROM databases WHERE status = 'ready'") == 2


@pytest.mark.usefixtures("patient")
async def test_more_than_fit_go_in_several(house: House, watched: Watched) -> None:
    await house.pool()
    asked = await ask_all(house, watched, Claims(), *(f"i-{n}" for n in range(2 + MOST_TOGETHER)))
    watched.held.set()
    assert await asyncio.gather(*asked) == [None] * len(asked)
    assert watched.asked == 3


@pytest.mark.usefixtures("patient")
async def test_those_for_whom_no_spare_is_left_hear_so_and_the_others_have_theirs(
    house: House, watched: Watched
) -> None:
    await house.pool()
    await house.spares(3)
    asked = await ask_all(house, watched, Claims(), *"abcde")
    watched.held.set()
    found = await asyncio.gather(*asked)
    assert [seat is not None for seat in found] == [True, True, True, False, False]
    assert set(await seats(house)) == set("abc")


@pytest.mark.usefixtures("patient")
async def test_one_instance_twice_in_a_transaction_has_one_database(house: House, watched: Watched) -> None:
    await house.pool()
    await house.spares(4)
    asked = await ask_all(house, watched, Claims(), "a", "b", "b", "a")
    watched.held.set()
    found = await asyncio.gather(*asked)
    assert [seat is not None for seat in found] == [True, True, False, False]
    assert await house.value("SELECT count(*) FROM databases WHERE status = 'spare'") == 2


@pytest.mark.usefixtures("patient")
async def test_a_lost_race_of_one_costs_the_others_nothing(house: House, watched: Watched, two: Two) -> None:
    await house.pool()
    await house.spares(5)
    assert await databases.claim_spare(two.first.conn, claim(house, "b"))
    asked = await ask_all(house, watched, Claims(), *"abc")
    watched.held.set()
    assert await asked[0]
    racing = await two.until_waits(asyncio.gather(*asked, return_exceptions=True))
    await two.first.commit()
    a, b, c = await racing
    assert isinstance(a, Seated)
    assert b is None
    assert isinstance(c, Seated)
    assert set(await seats(house)) == set("abc")
    assert await house.value("SELECT count(*) FROM databases WHERE status = 'spare'") == 2


async def test_nobody_waits_long_for_an_instance_that_somebody_else_holds(
    house: House, watched: Watched, two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "TOGETHER_S", 0.2)
    await house.pool()
    await house.spares(5)
    assert await databases.claim_spare(two.first.conn, claim(house, "b"))
    asked = await ask_all(house, watched, Claims(), *"abc")
    watched.held.set()
    assert await asked[0]
    assert await asked[2]
    assert not asked[1].done()
    await two.first.give_up()
    assert await asked[1]


async def test_who_does_not_get_through_goes_around(
    house: House, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    await house.pool()
    await house.spares(3)
    first, second = await ask_all(house, watched, Claims(), *"ab")
    assert await second
    assert not first.done()
    watched.held.set()
    assert await first


@pytest.mark.usefixtures("patient")
async def test_a_caller_who_leaves_does_not_take_the_others_along(house: House, watched: Watched) -> None:
    await house.pool()
    await house.spares(3)
    first, leaving, staying = await ask_all(house, watched, Claims(), *"abc")
    leaving.cancel()
    first.cancel()
    watched.held.set()
    assert await staying
    with pytest.raises(asyncio.CancelledError):
        await leaving


@pytest.mark.usefixtures("patient")
async def test_a_database_that_is_away_is_away_for_all_and_back_for_all(house: House, watched: Watched) -> None:
    await house.pool()
    await house.spares(4)
    claims = Claims()
    here, watched.db = watched.db, Gone()  # type: ignore[assignment]
    watched.held.set()
    gone = await asyncio.gather(*await ask_all(house, watched, claims, *"abc"), return_exceptions=True)
    assert [type(answer) for answer in gone] == [ControlDatabaseUnavailable] * 3
    watched.db, watched.asked = here, 0
    assert all(await asyncio.gather(*await ask_all(house, watched, claims, *"abc")))
    assert watched.asked == 2


class Gone:
    """A database that is away."""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Conn]:
        await asyncio.sleep(0)
        raise ControlDatabaseUnavailable
        yield
